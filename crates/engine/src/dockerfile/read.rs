//! The text of a Dockerfile becomes instructions. The grammar is that of the parser's crate; here are the here-documents
//! that it does not know, and lines that are put together as Docker does.

use parse_dockerfile::{Command, Flag, Instruction, JsonOrStringArray, UnescapedString};

use super::words::split;
use super::Fault;

/// Most bytes of a Dockerfile.
const LARGEST: usize = 256 << 10;

/// One instruction.
#[derive(Debug)]
pub struct Item {
    pub line: usize,
    /// Its first line, as written.
    pub text: String,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    From {
        flags: Flags,
        image: String,
        name: Option<String>,
    },
    Arg(String),
    Env(String),
    Label(String),
    Run {
        flags: Flags,
        command: CommandForm,
    },
    Cmd(CommandForm),
    Entrypoint(CommandForm),
    Copy {
        is_add: bool,
        flags: Flags,
        sources: Vec<CopySource>,
        dst: String,
    },
    Workdir(String),
    User(String),
    Shell(Vec<String>),
    Expose(Vec<String>),
    Volume(Vec<String>),
    StopSignal,
    HealthCheck,
    Maintainer(String),
    OnBuild,
}

/// A command, in either form.
#[derive(Debug, Clone)]
pub enum CommandForm {
    Exec(Vec<String>),
    Shell(String),
    /// `RUN <<EOF`: a script and nothing else.
    Script(String),
}

#[derive(Debug)]
pub enum CopySource {
    Path(String),
    /// A here-document: name, content, and whether variables are replaced in it.
    Document(String, String, bool),
}

/// Flags of an instruction, by name.
pub type Flags = Vec<(String, Option<String>)>;

/// The instructions of a Dockerfile, and its escape character.
pub fn instructions(text: &str) -> Result<(Vec<Item>, char), Fault> {
    if text.len() > LARGEST {
        return Err(Fault::new(1, "", format!("it is over {LARGEST} bytes")));
    }
    if let Some(at) = text.find('\0') {
        return Err(Fault::new(
            Source::new(text).line_of(at),
            "",
            "it has a zero byte",
        ));
    }
    let source = Source::new(text.strip_prefix('\u{feff}').unwrap_or(text));
    let escape = escape_of(source.text);
    let mut items = Vec::new();
    let mut begin = 0;
    // Once a time for each here-document that the parser would take for instructions.
    loop {
        match some_instructions(&source, begin, escape, &mut items)? {
            Some(next) => begin = next,
            None => return Ok((items, escape)),
        }
    }
}

/// A text, and where its lines end.
struct Source<'a> {
    text: &'a str,
    ends: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { text, ends }
    }

    /// Number of the line at an offset, from 1.
    fn line_of(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    /// The line at an offset, from there.
    fn rest_of_line(&self, at: usize) -> &'a str {
        self.text[at..].lines().next().unwrap_or_default()
    }

    /// A line by its number, and where it begins.
    fn line(&self, number: usize) -> (usize, &'a str) {
        let begin = match number.checked_sub(2) {
            Some(before) => self.ends.get(before).map_or(self.text.len(), |end| end + 1),
            None => 0,
        };
        (begin, self.rest_of_line(begin))
    }
}

/// Reads on at an offset; answers where to go on if the parser cannot.
fn some_instructions(
    source: &Source<'_>,
    begin: usize,
    escape: char,
    items: &mut Vec<Item>,
) -> Result<Option<usize>, Fault> {
    let text = source.text;
    // The parser wants to begin at the beginning.
    let head = if begin == 0 {
        String::new()
    } else {
        format!("# escape={escape}\nFROM scratch\n")
    };
    let part = format!("{head}{}", &text[begin..]);
    let place = |at: usize| begin + at.saturating_sub(head.len());
    let first_line = source.line_of(begin);
    let head_lines = head.matches('\n').count();
    let failed = |error: &parse_dockerfile::Error| {
        let mut line = (error.line() + first_line).saturating_sub(head_lines + 1).max(1);
        let message = format!("{error:#}");
        if message.contains("here-document") {
            // That it has no end is noticed at the end of the text.
            let marked = text.rfind("<<").unwrap_or_default();
            line = source.line_of(marked);
        }
        let (_, shown) = source.line(line);
        Fault::new(line, shown.split_whitespace().next().unwrap_or_default(), message)
    };
    let parsed = parse_dockerfile::parse_iter(&part).map_err(|error| failed(&error))?;
    for instruction in parsed.skip(usize::from(begin != 0)) {
        let instruction = match instruction {
            Ok(instruction) => instruction,
            Err(error) => {
                let fault = failed(&error);
                // Nothing to be run is a thing to say, though the parser does not think so.
                let (at, line) = source.line(fault.line);
                if is_empty_entrypoint(line) {
                    items.push(item(source, at, What::Entrypoint(CommandForm::Exec(Vec::new()))));
                    return Ok(Some(at + line.len()));
                }
                return Err(fault);
            }
        };
        let at = place(keyword(&instruction));
        if let Instruction::Run(run) = &instruction {
            let shell = match &run.arguments {
                Command::Shell(shell) if run.here_docs.is_empty() => shell,
                _ => {
                    items.push(item(source, at, of(instruction, &part, escape)));
                    continue;
                }
            };
            let line = joined(shell.value, escape);
            let marks = marks(&line, escape);
            let flags = flags(&run.options);
            if marks.is_empty() {
                let command = CommandForm::Shell(line);
                items.push(item(source, at, What::Run { flags, command }));
                continue;
            }
            let end = place(shell.span.end);
            let body = end
                + text[end..]
                    .find('\n')
                    .map_or(text.len() - end, |newline| newline + 1);
            let (documents, next) = documents(source, body, &marks)?;
            let command = CommandForm::Shell(format!("{line}\n{documents}"));
            items.push(item(source, at, What::Run { flags, command }));
            return Ok(Some(next).filter(|next| *next < text.len()));
        }
        items.push(item(source, at, of(instruction, &part, escape)));
    }
    Ok(None)
}

fn item(source: &Source<'_>, at: usize, what: What) -> Item {
    Item {
        line: source.line_of(at),
        text: source.rest_of_line(at).trim().to_owned(),
        what,
    }
}

fn is_empty_entrypoint(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let is_one = words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("entrypoint"));
    is_one && words.collect::<String>() == "[]"
}

/// The `escape` directive. Source: Dockerfile reference, "Parser directives".
fn escape_of(text: &str) -> char {
    for line in text.lines() {
        let Some((name, value)) = line.strip_prefix('#').and_then(|rest| rest.split_once('=')) else {
            break;
        };
        match (name.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("escape", "`") => return '`',
            ("syntax" | "check", _) => {}
            _ => break,
        }
    }
    '\\'
}

/// One line of several that end with the escape character; comments and empty lines between them are left out.
fn joined(source: &str, escape: char) -> String {
    let mut line = String::new();
    let mut goes_on = false;
    for part in source.lines() {
        let bare = part.trim();
        if goes_on && (bare.is_empty() || bare.starts_with('#')) {
            continue;
        }
        match part.trim_end().strip_suffix(escape) {
            Some(part) => {
                line.push_str(part);
                goes_on = true;
            }
            None => {
                line.push_str(part);
                break;
            }
        }
    }
    line.trim_end().to_owned()
}

/// A here-document that a line announces.
struct Mark {
    end: String,
    has_tabs: bool,
}

/// Words such as `<<EOF`, `<<-'EOF'`, `3<<EOF`.
fn marks(line: &str, escape: char) -> Vec<Mark> {
    let mark = |word: &str| {
        let rest = word
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .strip_prefix("<<")?;
        let (rest, has_tabs) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
        let end: String = rest.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        let is_one = !end.is_empty() && !rest.contains(['<', '(', '$']);
        is_one.then_some(Mark { end, has_tabs })
    };
    split(line, escape).into_iter().filter_map(mark).collect()
}

/// Here-documents with the lines that end them, as a shell wants them, and where they end.
fn documents<'a>(source: &Source<'a>, begin: usize, marks: &[Mark]) -> Result<(&'a str, usize), Fault> {
    let (text, mut at) = (source.text, begin);
    for mark in marks {
        loop {
            let Some(line) = text[at..].split_inclusive('\n').next() else {
                let line = source.line_of(begin.saturating_sub(1));
                let word = format!("<<{}", mark.end);
                return Err(Fault::new(
                    line,
                    &word,
                    format!("the here-document has no line {:?} at its end", mark.end),
                ));
            };
            at += line.len();
            let line = line.trim_end_matches(['\n', '\r']);
            let line = if mark.has_tabs {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if line == mark.end {
                break;
            }
        }
    }
    Ok((text[begin..at].trim_end_matches(['\n', '\r']), at))
}

fn keyword(instruction: &Instruction<'_>) -> usize {
    match instruction {
        Instruction::Add(i) => i.add.span.start,
        Instruction::Arg(i) => i.arg.span.start,
        Instruction::Cmd(i) => i.cmd.span.start,
        Instruction::Copy(i) => i.copy.span.start,
        Instruction::Entrypoint(i) => i.entrypoint.span.start,
        Instruction::Env(i) => i.env.span.start,
        Instruction::Expose(i) => i.expose.span.start,
        Instruction::From(i) => i.from.span.start,
        Instruction::Healthcheck(i) => i.healthcheck.span.start,
        Instruction::Label(i) => i.label.span.start,
        Instruction::Maintainer(i) => i.maintainer.span.start,
        Instruction::Onbuild(i) => i.onbuild.span.start,
        Instruction::Run(i) => i.run.span.start,
        Instruction::Shell(i) => i.shell.span.start,
        Instruction::Stopsignal(i) => i.stopsignal.span.start,
        Instruction::User(i) => i.user.span.start,
        Instruction::Volume(i) => i.volume.span.start,
        Instruction::Workdir(i) => i.workdir.span.start,
        // The crate may learn new ones; then the build stops here, not half-way.
        _ => 0,
    }
}

fn texts<'a, 'b: 'a>(words: impl IntoIterator<Item = &'a UnescapedString<'b>>) -> Vec<String> {
    words.into_iter().map(|word| word.value.to_string()).collect()
}

fn flags(options: &[Flag<'_>]) -> Flags {
    let flag = |flag: &Flag<'_>| {
        let value = flag.value.as_ref().map(|value| value.value.to_string());
        (flag.name.value.to_string(), value)
    };
    options.iter().map(flag).collect()
}

fn command(command: &Command<'_>, escape: char) -> CommandForm {
    match command {
        Command::Exec(words) => CommandForm::Exec(texts(&words.value)),
        Command::Shell(source) => CommandForm::Shell(joined(source.value, escape)),
        _ => CommandForm::Shell(String::new()),
    }
}

/// What the parser read, `part` being its text.
fn of(instruction: Instruction<'_>, part: &str, escape: char) -> What {
    match instruction {
        Instruction::From(i) => What::From {
            flags: flags(&i.options),
            image: i.image.value.into(),
            name: i.as_.map(|(_, name)| name.value.into()),
        },
        Instruction::Arg(i) => What::Arg(i.arguments.value.into()),
        Instruction::Env(i) => What::Env(i.arguments.value.into()),
        Instruction::Label(i) => What::Label(i.arguments.value.into()),
        Instruction::Run(i) => {
            let line = match (&i.arguments, i.here_docs.first()) {
                (Command::Shell(after), Some(document)) if after.value.trim().is_empty() => {
                    CommandForm::Script(document.value.to_string())
                }
                // The document is input of a command that follows its mark.
                (Command::Shell(after), Some(document)) => {
                    let mark = part[..after.span.start].rfind("<<").unwrap_or(after.span.start);
                    let end = part[document.span.end..].lines().next().unwrap_or_default();
                    let (first, body) = (&part[mark..after.span.end], &part[document.span.clone()]);
                    CommandForm::Shell(format!("{first}\n{body}{end}"))
                }
                (arguments, _) => command(arguments, escape),
            };
            What::Run {
                flags: flags(&i.options),
                command: line,
            }
        }
        Instruction::Cmd(i) => What::Cmd(command(&i.arguments, escape)),
        Instruction::Entrypoint(i) => What::Entrypoint(command(&i.arguments, escape)),
        Instruction::Copy(i) => What::Copy {
            is_add: false,
            flags: flags(&i.options),
            sources: i.src.iter().map(|source| copied(source, part)).collect(),
            dst: i.dest.value.into(),
        },
        Instruction::Add(i) => What::Copy {
            is_add: true,
            flags: flags(&i.options),
            sources: i.src.iter().map(|source| copied(source, part)).collect(),
            dst: i.dest.value.into(),
        },
        Instruction::Workdir(i) => What::Workdir(i.arguments.value.into()),
        Instruction::User(i) => What::User(i.arguments.value.into()),
        Instruction::Shell(i) => What::Shell(texts(&i.arguments)),
        Instruction::Expose(i) => What::Expose(texts(&i.arguments)),
        Instruction::Volume(i) => What::Volume(match &i.arguments {
            JsonOrStringArray::Json(words) => texts(&words.value),
            JsonOrStringArray::String(words) => texts(words),
        }),
        Instruction::Stopsignal(_) => What::StopSignal,
        Instruction::Healthcheck(_) => What::HealthCheck,
        Instruction::Maintainer(i) => What::Maintainer(i.name.value.into()),
        _ => What::OnBuild,
    }
}

fn copied(source: &parse_dockerfile::Source<'_>, part: &str) -> CopySource {
    match source {
        parse_dockerfile::Source::Path(path) => CopySource::Path(path.value.to_string()),
        parse_dockerfile::Source::HereDoc(document) => {
            let name = part[document.span.end..].lines().next().unwrap_or_default();
            CopySource::Document(
                name.trim().to_owned(),
                document.value.to_string(),
                document.expand,
            )
        }
        _ => CopySource::Path(String::new()),
    }
}
