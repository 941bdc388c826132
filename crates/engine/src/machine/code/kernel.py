# One context of the code interpreter: runs cells of Python, or of bash, and keeps what they define. Python runs in
# IPython's own shell where IPython can be imported, and else in a small one with the same habits.
#
# The engine writes a line of JSON a cell to standard input and reads a line of JSON an event from standard output. Before
# any cell runs, both move to descriptors of their own, so that what cells print goes into two pipes instead, whichever
# program of theirs prints it. Needs nothing but the standard library, 3.8 or newer.

import ast
import asyncio
import base64
import builtins
import codecs
import hashlib
import io
import json
import linecache
import mimetypes
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
import weakref
from datetime import datetime, timezone
from pathlib import Path

LANGUAGE, CONTEXT, ARTIFACTS = sys.argv[1:4]
# Bytes of one picture or page in an event, and characters of one text. The engine reads lines of 16 MiB.
LARGEST = 8 << 20
# Forms of a value, as results name them, and how Python objects give them.
FORMS = {
    "text/html": ("html", "_repr_html_"),
    "text/markdown": ("markdown", "_repr_markdown_"),
    "image/svg+xml": ("svg", "_repr_svg_"),
    "image/png": ("png", "_repr_png_"),
    "image/jpeg": ("jpeg", "_repr_jpeg_"),
    "application/pdf": ("pdf", "_repr_pdf_"),
    "text/latex": ("latex", "_repr_latex_"),
    "application/json": ("json", "_repr_json_"),
    "application/javascript": ("javascript", "_repr_javascript_"),
}
KEPT = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg", "text/html": "html", "application/pdf": "pdf"}

events = os.fdopen(os.dup(1), "wb", buffering=0)
cells = os.fdopen(os.dup(0), "rb")
lock = threading.Lock()


def tell(kind, **fields):
    line = json.dumps({"type": kind, **fields}, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
    with lock:
        view = memoryview(line)
        while view:
            view = view[events.write(view):]


class Printed:
    """What cells print on one descriptor, told as it comes."""

    def __init__(self, name, descriptor):
        self.name = name
        self.reader, writer = os.pipe()
        os.dup2(writer, descriptor, inheritable=True)
        os.close(writer)
        self.mark = None
        self.seen = threading.Event()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        held = b""
        while True:
            chunk = os.read(self.reader, 32768)
            if not chunk:
                return
            held += chunk
            mark = self.mark
            at = held.find(mark) if mark else -1
            if at >= 0:
                self.text(decoder, held[:at])
                held = held[at + len(mark):]
                self.mark = None
                self.seen.set()
                continue
            # The beginning of a mark may be the end of what came.
            keep = next((n for n in range(min(len(mark) - 1, len(held)), 0, -1) if mark.startswith(held[-n:])), 0) if mark else 0
            self.text(decoder, held[: len(held) - keep])
            held = held[len(held) - keep:]

    def text(self, decoder, chunk):
        text = decoder.decode(chunk)
        if text and is_between_cells:
            # The engine keeps it in the log of the kernel: it is none of the next cell's.
            tell("late", text=text)
        elif text:
            tell(self.name, text=text, timestamp=time.time_ns() // 1_000_000)

    def settle(self, descriptor):
        """Waits until all that was printed has been told."""
        mark = b"\0" + secrets.token_hex(16).encode() + b"\0"
        self.seen.clear()
        self.mark = mark
        view = memoryview(mark)
        try:
            while view:
                view = view[os.write(descriptor, view):]
        except OSError:
            return  # a cell closed it
        self.seen.wait(10)


is_between_cells = False
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0)
printed = [(Printed("stdout", 1), 1), (Printed("stderr", 2), 2)]
sys.stdin = open(0, closefd=False)
for name, descriptor in (("stdout", 1), ("stderr", 2)):
    raw = open(descriptor, "wb", closefd=False)
    setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", errors="replace", line_buffering=True))
warnings.filterwarnings("ignore", message=".*non-interactive, and thus cannot be shown.*")
os.environ.setdefault("MPLBACKEND", "Agg")
# The machine is the environment: there is no other one to protect.
os.environ.setdefault("PIP_BREAK_SYSTEM_PACKAGES", "1")
os.environ.setdefault("PIP_ROOT_USER_ACTION", "ignore")
os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")


settling = threading.Lock()


def settle():
    """What was printed before is told before what comes now."""
    with settling:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        for reader, descriptor in printed:
            reader.settle(descriptor)


# ---- What is shown ----

count = 0
pictures = 0


def artifact(kind, mime, name, content):
    """Keeps bytes for later, beside a description of them."""
    number = "art_" + secrets.token_hex(10)
    described = {
        "id": number,
        "context_id": CONTEXT,
        "execution_count": count,
        "kind": kind,
        "mime_type": mime,
        "name": name,
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "created_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    directory = Path(ARTIFACTS)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / number).write_bytes(content)
    # The description last: what has one is whole.
    draft = directory / (number + ".new")
    draft.write_text(json.dumps(described))
    draft.rename(directory / (number + ".json"))
    settle()
    tell("artifact", artifact=described)


def kind_of(mime):
    if mime.startswith("image/"):
        return "image"
    if mime == "text/html":
        return "html"
    is_document = mime in ("application/pdf", "text/markdown", "text/csv", "application/json")
    return "document" if is_document or mime.startswith(("text/", "application/vnd.")) else "file"


def forms_of(value):
    """Every form that a value offers, by media type."""
    found = {}
    bundle = getattr(value, "_repr_mimebundle_", None)
    if callable(bundle) and not isinstance(value, type):
        made = bundle()
        made = made[0] if isinstance(made, tuple) else made
        found.update(made or {})
    for mime, (_, method) in FORMS.items():
        make = getattr(value, method, None)
        if mime not in found and callable(make) and not isinstance(value, type):
            made = make()
            made = made[0] if isinstance(made, tuple) else made
            if made is not None:
                found[mime] = made
    return found


def show(value, is_main):
    try:
        found = forms_of(value)
    except Exception:
        # What a value says of itself is code of the cell: it fails like any other.
        traceback.print_exc()
        found = {}
    try:
        text = found.pop("text/plain", None) or repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}: its repr failed with {type(error).__name__}>"
    show_forms(found, text, is_main)


def show_forms(found, text, is_main):
    """Shows a value by its forms: a dictionary of media types and contents."""
    global pictures
    result = {"text": text[:LARGEST], "is_main_result": is_main}
    cut = {"text": len(text) - LARGEST} if len(text) > LARGEST else {}
    for mime, made in found.items():
        content = made if isinstance(made, bytes) else None
        if isinstance(made, str):
            if mime in ("image/png", "image/jpeg", "application/pdf"):
                try:
                    content = base64.b64decode(made, validate=False)
                except ValueError:
                    continue
            else:
                content = made.encode("utf-8", "replace")
        if mime in KEPT and content is not None:
            pictures += 1
            artifact(kind_of(mime), mime, f"execution-{count}-{pictures}.{KEPT[mime]}", content)
        if content is not None and len(content) > LARGEST:
            cut[FORMS[mime][0] if mime in FORMS else mime] = len(content)
            continue
        shown = base64.b64encode(made).decode() if isinstance(made, bytes) else made
        try:
            json.dumps(shown)
        except (TypeError, ValueError):
            continue
        if mime in FORMS:
            result[FORMS[mime][0]] = shown
        else:
            result.setdefault("data", {})[mime] = shown
    if cut:
        result["truncated"] = cut
    settle()
    tell("result", **result)


def display(*values, **options):
    """Shows values as results. A path of a file is kept as an artifact."""
    for value in values:
        if isinstance(value, Path) and value.is_file():
            mime = mimetypes.guess_type(value.name)[0] or "application/octet-stream"
            artifact(kind_of(mime), mime, value.name, value.read_bytes())
        elif shell is not None:
            from IPython.display import display as show_it

            show_it(value, **options)
        else:
            show(value, False)


def show_figures():
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        made = io.BytesIO()
        figure.savefig(made, format="png", bbox_inches="tight")

        class Figure:
            def __repr__(self, text=repr(figure)):
                return text

            def _repr_png_(self):
                return made.getvalue()

        show(Figure(), False)
        pyplot.close(figure)


# ---- Cells ----

# The cell in which each task began.
begun = weakref.WeakKeyDictionary()


def note_task(loop, coroutine, **options):
    task = asyncio.Task(coroutine, loop=loop, **options)
    begun[task] = count
    return task


def unhandled(loop, context):
    """A failure that nobody awaited: of the cell that it began in, or of none."""
    if begun.get(context.get("future"), count) == count and not is_between_cells:
        loop.default_exception_handler(context)
        return
    error = context.get("exception")
    lines = traceback.format_exception(type(error), error, error.__traceback__) if error else []
    tell("late", text="".join([context["message"], "\n", *lines]))


def new_loop():
    made = asyncio.new_event_loop()
    made.set_task_factory(note_task)
    made.set_exception_handler(unhandled)
    asyncio.set_event_loop(made)
    return made


loop = new_loop()
running = False
# IPython's, once there is one.
shell = None


def complete(coroutine):
    """Runs a coroutine of a cell to its end, and the tasks that earlier cells began beside it."""
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except KeyboardInterrupt:
        if task.done():
            raise
        task.cancel()
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        raise


begin_task = asyncio.create_task


def create_task(coroutine, **options):
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # A cell without `await` runs outside of the loop, so that `asyncio.run` works there as well. The task begins
        # when the cell has ended.
        return loop.create_task(coroutine, **options)
    return begin_task(coroutine, **options)


asyncio.create_task = asyncio.tasks.create_task = create_task


class Requests:
    """The cells, as the engine sends them. While none is there, tasks of earlier ones go on."""

    def __init__(self):
        self.lines = queue.SimpleQueue()
        self.waiter = None
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in cells:
            self.arrived(line)
        self.arrived(None)

    def arrived(self, line):
        self.lines.put(line)
        try:
            loop.call_soon_threadsafe(self.wake)
        except RuntimeError:
            pass  # a cell closed the loop, and nothing waits in it

    def wake(self):
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def next(self):
        global loop
        while True:
            if loop.is_closed():
                loop = new_loop()
            # `asyncio.run` of a cell leaves none behind.
            asyncio.set_event_loop(loop)
            self.waiter = loop.create_future()
            try:
                return self.lines.get_nowait()
            except queue.Empty:
                pass
            try:
                loop.run_until_complete(self.waiter)
            except BaseException:
                # A task that exits, or stops the loop, is no reason to wait for cells no longer.
                pass


def interrupted(*_):
    # Between cells there is nothing to interrupt, and a shell hears of it itself: its answer still comes.
    if running and LANGUAGE != "bash":
        raise KeyboardInterrupt


signal.signal(signal.SIGINT, interrupted)


class Failed(Exception):
    """A cell that failed without an exception of Python."""

    def __init__(self, name, value):
        super().__init__(name, value)
        self.name, self.value = name, value


def system(line):
    """What `!line` does."""
    sys.stdout.flush()
    code = subprocess.run(["/bin/sh", "-c", line]).returncode
    names["_exit_code"] = code


module = type(sys)("__main__")
sys.modules["__main__"] = module
names = module.__dict__
names.update(__builtins__=builtins, display=display)


def prepared(code):
    """Cells may hold lines for the shell: `!ls` and `%pip install`."""
    try:
        ast.parse(code)
        return code
    except SyntaxError:
        pass
    lines = []
    for line in code.split("\n"):
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        if bare.startswith("!"):
            line = f"{indent}__import__('__main__')._system({bare[1:]!r})"
        elif bare.startswith(("%pip ", "%uv ")):
            line = f"{indent}__import__('__main__')._system({bare[1:]!r})"
        elif bare.startswith("%cd "):
            line = f"{indent}__import__('os').chdir({bare[4:].strip()!r})"
        lines.append(line)
    return "\n".join(lines)


names["_system"] = system


def run_python(code):
    name = f"<cell {count}>"
    source = prepared(code)
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    ends_quietly = source.rstrip().endswith(";")

    def evaluate(node, mode):
        made = compile(node, name, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        is_async = made.co_flags & 0x80  # CO_COROUTINE
        value = eval(made, names)
        return complete(value) if is_async else value

    evaluate(tree, "exec")
    if last is not None:
        value = evaluate(ast.Expression(last.value), "eval")
        if value is not None and not ends_quietly:
            names["_"] = value
            show(value, True)
    show_figures()


def make_shell():
    """IPython's shell, or nothing where it cannot be imported or is too old."""
    try:
        from IPython.core.displayhook import DisplayHook
        from IPython.core.displaypub import DisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets import Type
        from traitlets.config import Config
    except Exception:
        return None

    class Results(DisplayHook):
        """Tells of the value of a cell."""

        def write_output_prompt(self):
            pass

        def write_format_data(self, format_dict, md_dict=None):
            found = dict(format_dict)
            show_forms(found, found.pop("text/plain", ""), True)

        def finish_displayhook(self):
            pass

    class Shown(DisplayPublisher):
        """Tells of what a cell displays."""

        def publish(self, data, *_, **__):
            found = dict(data)
            show_forms(found, found.pop("text/plain", ""), False)

        def clear_output(self, wait=False):
            pass

    class Shell(InteractiveShell):
        displayhook_class = Type(Results)
        display_pub_class = Type(Shown)

        def _showtraceback(self, *_):
            pass  # told as the error of the cell

        def system(self, cmd):
            sys.stdout.flush()
            return self.system_raw(self.var_expand(cmd, depth=1))

        def enable_gui(self, gui=None):
            pass  # nobody is there to look at windows

        def ask_exit(self):
            pass  # the cell ends; the next one finds all that was defined

    config = Config()
    config.InteractiveShell.colors = "nocolor"
    # Two contexts of a machine would write to one file.
    config.HistoryManager.enabled = False
    try:
        made = Shell.instance(config=config, user_module=module, user_ns=names)
        made.compile.get_code_name = lambda *_: f"<cell {count}>"

        def show_in_pager(_, data, *__, **___):
            print(data["text/plain"] if isinstance(data, dict) else data)

        made.set_hook("show_in_pager", show_in_pager, 99)
    except Exception:
        return None
    warnings.filterwarnings("ignore", message="To exit: use")
    names["display"] = display
    return made


def run_ipython(code):
    try:
        source, failed = shell.transform_cell(code), None
    except Exception:
        source, failed = code, sys.exc_info()
    if failed is None and shell.should_run_async(code, transformed_cell=source):
        made = complete(shell.run_cell_async(code, store_history=True, transformed_cell=source))
        shell.events.trigger("post_execute")
        shell.events.trigger("post_run_cell", made)
    else:
        made = shell.run_cell(code, store_history=True)
    if made.error_before_exec or made.error_in_exec:
        raise made.error_before_exec or made.error_in_exec
    show_figures()


class Bash:
    """A shell that outlives its cells."""

    LOOP = 'while IFS= read -r -d "" _cell <&3; do eval "$_cell" 3<&- 4>&-; printf "%s\\0" "$?" >&4; done'

    def __init__(self):
        self.process = None

    def start(self):
        cell_reader, self.cell = os.pipe()
        self.code, code_writer = os.pipe()

        def adopt():
            # Below, the shell's own numbers for the two.
            moved = [os.dup(cell_reader), os.dup(code_writer)]
            os.dup2(moved[0], 3)
            os.dup2(moved[1], 4)
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        self.process = subprocess.Popen(
            ["bash", "-c", "trap : INT; " + self.LOOP], preexec_fn=adopt, close_fds=False
        )
        os.close(cell_reader)
        os.close(code_writer)

    def run(self, code):
        if self.process is None or self.process.poll() is not None:
            self.start()
        view = memoryview(code.replace("\0", "").encode() + b"\0")
        answer = b""
        try:
            while view:
                view = view[os.write(self.cell, view):]
            while not answer.endswith(b"\0"):
                piece = os.read(self.code, 64)
                if not piece:
                    break
                answer += piece
        except BrokenPipeError:
            pass
        if not answer.endswith(b"\0"):
            code = self.process.wait()
            os.close(self.cell)
            os.close(self.code)
            self.process = None
            raise Failed("ShellEnded", f"the shell ended with code {code}; the next cell gets a new one")
        if answer != b"0\0":
            raise Failed("CommandFailed", f"exit code {answer[:-1].decode()}")


bash = Bash()


def failure(error):
    if isinstance(error, Failed):
        return {"name": error.name, "value": error.value, "traceback": ""}
    frames = traceback.extract_tb(error.__traceback__)
    # Frames of this file say nothing about the cell.
    own = next((index for index, frame in enumerate(frames) if frame.filename.startswith("<cell ")), len(frames))
    lines = ["Traceback (most recent call last):\n"] + traceback.format_list(frames[own:]) if own < len(frames) else []
    lines += traceback.format_exception_only(type(error), error)
    try:
        value = str(error)
    except Exception:
        value = "<its text could not be made>"
    return {"name": type(error).__name__, "value": value, "traceback": "".join(lines)}


def run(request):
    global count, pictures, running, is_between_cells
    settle()
    is_between_cells = False
    count += 1
    pictures = 0
    if sys.stdin.closed:
        # `exit()` closes it.
        sys.stdin = open(0, closefd=False)
    before = {}
    for key, value in (request.get("envs") or {}).items():
        before[key] = os.environ.get(key)
        os.environ[key] = value
    error = None
    try:
        try:
            running = True
            if LANGUAGE == "bash":
                bash.run(request["code"])
            elif shell is not None:
                run_ipython(request["code"])
            else:
                run_python(request["code"])
        finally:
            running = False
    except SystemExit as exit:
        if exit.code not in (None, 0):
            error = failure(exit)
    except BaseException as raised:
        error = failure(raised)
    for key, value in before.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value
    settle()
    is_between_cells = True
    if error is not None:
        tell("error", **error)
    tell("number_of_executions", execution_count=count)
    tell("end")


if LANGUAGE == "python":
    shell = make_shell()
requests = Requests()
is_between_cells = True
tell("ready")
while True:
    line = requests.next()
    if line is None:
        break
    run(json.loads(line))
