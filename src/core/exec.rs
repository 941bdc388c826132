//! Commands as options. Source: PROTOCOL.md section 4.

use std::time::Duration;

use nullspace_wire::limits::{COMMAND_SECS, DEFAULT_COMMAND_SECS};

use super::config::CALL_OPTIONS;
use super::error::{Error, Kind};
use super::options::{Fields, Value};
use super::shown::options;
use super::value::{json, number_text};

/// Added to a command's time for the HTTP request that waits for it.
const MARGIN: Duration = Duration::from_secs(10);

options! {
    /// Options of {@link Commands.connect}.
    const HEARING = CommandConnectOptions: "CallOptions" {
        /// Gets standard output from now on; see {@link RunOptions.onStdout}. @default none
        onStdout: "(text: string) => unknown";
        /// The same for standard error. @default none
        onStderr: "(text: string) => unknown";
    }
}

const RUN: [&str; 7] = [
    "args",
    "shell",
    "cwd",
    "envs",
    "timeout",
    "background",
    "encoding",
];
/// HTTP time of a command without a limit: about 24 days, the most that timers of JavaScript count.
const ENDLESS: Duration = Duration::from_millis(i32::MAX as u64);

/// A command to run.
pub struct Run {
    /// The body.
    pub request: Value,
    /// Nobody waits for its end.
    pub background: bool,
    /// As given.
    pub request_timeout: Option<Duration>,
    /// The least time that the HTTP request may take when the caller said nothing.
    pub least_request_timeout: Duration,
    /// The caller wants the output as it comes.
    pub heard: bool,
}

/// Checks `command` and the options of `commands.run`.
pub fn run(command: &Value, options: Option<&Value>) -> Result<Run, Error> {
    let fields = Fields::new("", options, &[&RUN, &HEARING, &CALL_OPTIONS])?;
    super::config::signal(&fields)?;
    // What wants bytes is done by pipes.js, on a stream.
    bytes(&fields)?;
    let heard = hearing(&fields)?;
    let background = fields.flag("background")?.unwrap_or(false);
    let timeout = match background {
        // A server may have a limit for what is sent without one.
        true => limit(&fields)?.unwrap_or(COMMAND_SECS.max),
        false => timeout(&fields)?,
    };
    let mut request = request(command, &fields, timeout)?;
    request.put("background", background.into());
    Ok(Run {
        request,
        background,
        request_timeout: fields.seconds("requestTimeout")?,
        // Nobody waits for what runs in the background.
        least_request_timeout: match background {
            true => Duration::ZERO,
            false => least_request_timeout(timeout),
        },
        heard,
    })
}

/// Checks the callbacks; whether there is one.
fn hearing(fields: &Fields<'_>) -> Result<bool, Error> {
    for name in HEARING {
        super::config::function(fields, name)?;
    }
    Ok(HEARING.iter().any(|name| fields.has(name)))
}

/// Checks `command` and the options of `commands.stream`.
pub fn stream(command: &Value, options: Option<&Value>) -> Result<Value, Error> {
    let known = ["args", "shell", "cwd", "envs", "timeout", "encoding"];
    let fields = super::config::call_fields(options, &known)?;
    let timeout = timeout(&fields)?;
    let mut request = request(command, &fields, timeout)?;
    request.put_given("encoding", bytes(&fields)?);
    Ok(request)
}

/// Checks the options of `commands.connect`.
pub fn connect(options: Option<&Value>) -> Result<(), Error> {
    hearing(&super::config::call_fields(options, &HEARING)?).map(drop)
}

/// The encoding on the wire, when output is wanted as bytes.
fn bytes(fields: &Fields<'_>) -> Result<Option<&'static str>, Error> {
    let wanted = fields.choice("encoding", &["text", "bytes"])?;
    Ok((wanted == Some("bytes")).then_some("base64"))
}

/// Interpreters whose name or flag is not what the language's name says.
const INTERPRETERS: [(&str, &str, &str); 4] = [
    ("python", "python3", "-c"),
    ("node", "node", "-e"),
    ("javascript", "node", "-e"),
    ("ruby", "ruby", "-e"),
];
/// Bytes of one argument, its end included. Source: Linux, `MAX_ARG_STRLEN`.
const MAX_ARGUMENT: usize = 131_072;

options! {
    /// Options of {@link Process.codeRun}.
    const PROGRAM = CodeRunOptions: "CallOptions" {
        /// `python`, `node`, `javascript`, `ruby`, or the name of a program that takes `-c`, such as `bash`. The template must
        /// have it.
        /// @default `python`
        language: "string";
        /// Working directory. @default the machine's
        cwd: "string";
        /// Added to the machine's environment. @default `{}`
        envs: "Record<string, string>";
        /// Seconds for the program, at least 1, or `'none'`. @default {default}
        timeout: "number | 'none'" = DEFAULT_COMMAND_SECS;
    }
}

/// Checks `code` and the options of `process.codeRun`: a program's text as argument of its interpreter. A language
/// without a rule is the name of a program that takes `-c`, as shells do.
pub fn code_run(code: &Value, options: Option<&Value>) -> Result<Run, Error> {
    let fields = super::config::call_fields(options, &PROGRAM)?;
    let code = super::options::filled("code", code)?;
    if code.len() >= MAX_ARGUMENT {
        return Err(Error::option(
            "code",
            "must be less than 128 KiB: write it to a file and run that",
        ));
    }
    let language = fields.filled("language")?.unwrap_or("python");
    let named = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    if !language.chars().all(named) || language.starts_with(['-', '.']) {
        return Err(fields.wrong(
            "language",
            "must be the name of a program, such as 'python' or 'bash'",
        ));
    }
    let (program, flag) = INTERPRETERS
        .iter()
        .find(|(name, ..)| *name == language)
        .map_or((language, "-c"), |(_, program, flag)| (*program, *flag));
    let timeout = self::timeout(&fields)?;
    let mut request = request(&Value::Text(program.to_owned()), &fields, timeout)?;
    request.put("args", json!([flag, code]));
    Ok(Run {
        request,
        background: false,
        request_timeout: fields.seconds("requestTimeout")?,
        least_request_timeout: least_request_timeout(timeout),
        heard: false,
    })
}

/// The body, from fields that hold `args`, `shell`, `cwd`, `envs`.
pub fn request(command: &Value, fields: &Fields<'_>, timeout: u64) -> Result<Value, Error> {
    let command = match command {
        Value::Text(text) if text.contains('\0') => {
            return Err(Error::option("command", "must not hold a NUL character"))
        }
        Value::Text(text) if !text.trim().is_empty() => text,
        Value::Text(_) => return Err(Error::option("command", "must not be empty")),
        other => {
            return Err(Error::option(
                "command",
                &format!("must be a string such as 'ls', not {}", other.kind()),
            ))
        }
    };
    let shell = fields.flag("shell")?.unwrap_or(false);
    let args = fields.texts("args")?.filter(|args| !args.is_empty());
    let nul = args.iter().flatten().position(|text| text.contains('\0'));
    if let Some(index) = nul {
        return Err(Error::option(
            &format!("{}[{index}]", fields.path("args")),
            "must not hold a NUL character",
        ));
    }
    if shell && args.is_some() {
        return Err(fields.wrong(
            "args",
            "and `shell: true` exclude each other: put the arguments into the command's text",
        ));
    }
    let mut request = json!({ "command": command, "timeout_secs": timeout, "background": false });
    request.put_given("args", args);
    request.put_given("cwd", fields.filled("cwd")?);
    let envs = fields.environment("envs")?.filter(|envs| envs.has_fields());
    request.put_given("envs", envs.cloned());
    request.put_given("shell", shell.then_some(true));
    Ok(request)
}

/// HTTP time of a command that is heard.
pub fn hearing_time(request: &Value) -> Option<Duration> {
    let seconds = request.get("timeout_secs")?.as_f64()?;
    Some(least_request_timeout(seconds as u64))
}

/// Whether a command looks like a line of a shell, and was not given as one.
pub fn is_line(request: &Value) -> bool {
    let command = request.get("command").and_then(Value::as_str).unwrap_or_default();
    let has_words = command.trim().contains(char::is_whitespace);
    has_words && request.get("args").is_none() && request.get("shell").is_none()
}
/// What a command failed with; one that looks like a line of a shell is told how to be one.
pub fn explained(mut error: Error, is_line: bool) -> Error {
    if is_line && error.code == "exec_failed" {
        error.suggested_action = Some(
            "`command` is the name of one program: pass its arguments in `args`, or use `shell: true` for a line of a shell"
                .to_owned(),
        );
    }
    error
}

/// Whole seconds for a command that is waited for, from the option `timeout`.
pub fn timeout(fields: &Fields<'_>) -> Result<u64, Error> {
    Ok(limit(fields)?.unwrap_or(DEFAULT_COMMAND_SECS))
}

/// `'none'` is the most that the API takes, which the local engine reads as no limit.
fn limit(fields: &Fields<'_>) -> Result<Option<u64>, Error> {
    match fields.get("timeout") {
        Some(Value::Text(text)) if text == "none" => Ok(Some(COMMAND_SECS.max)),
        _ => fields
            .integer("timeout", COMMAND_SECS.min, COMMAND_SECS.max)
            .map_err(|mut error| {
                error.message.push_str("; 'none' sets no limit");
                error
            }),
    }
}

/// The least HTTP time for a command of so many seconds.
pub fn least_request_timeout(timeout: u64) -> Duration {
    match timeout < COMMAND_SECS.max {
        true => Duration::from_secs(timeout) + MARGIN,
        false => ENDLESS,
    }
}

/// How long to wait for the end of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    /// In all; without one there is no end.
    pub timeout: Option<Duration>,
    /// Between two looks.
    pub interval: Duration,
    /// Of each request.
    pub request_timeout: Option<Duration>,
}

options! {
    /// Options of {@link Command.wait}.
    const WAIT = CommandWaitOptions: "CallOptions" {
        /// Seconds to wait; the command is not killed. @default without end @throws {@link TimeoutError} code `timeout`
        timeout: "number";
        /// Milliseconds between looks, at least 10. @default 250
        intervalMs: "number";
    }
}

/// Reads the options of `wait` of a background command.
pub fn wait(options: Option<&Value>) -> Result<Wait, Error> {
    let fields = super::config::call_fields(options, &WAIT)?;
    Ok(Wait {
        timeout: fields.seconds("timeout")?,
        interval: Duration::from_millis(fields.integer("intervalMs", 10, 86_400_000)?.unwrap_or(250)),
        request_timeout: fields.seconds("requestTimeout")?,
    })
}

/// Waiting took longer than allowed.
pub fn still_runs(pid: u32, timeout: Duration) -> Error {
    Error::new(
        Kind::Timeout,
        "timeout",
        format!(
            "process {pid} still runs after {} s; it was not killed",
            number_text(timeout.as_secs_f64())
        ),
    )
}

/// A process id that a caller gave.
pub fn pid(value: &Value) -> Result<u32, Error> {
    super::options::integer("pid", value, 1, u64::from(u32::MAX)).map(|pid| pid as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(fields: &[(&str, Value)]) -> Value {
        Value::Object(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        )
    }

    #[test]
    fn no_limit_is_asked_for_in_words() {
        let command = Value::Text("true".to_owned());
        let none = options(&[("timeout", Value::Text("none".to_owned()))]);
        let run = run(&command, Some(&none)).ok().unwrap();
        assert_eq!(run.request.get("timeout_secs"), Some(&Value::Number(86_400.0)));
        // The request must not end sooner; timers of JavaScript count to 24 days.
        assert!(run.least_request_timeout > Duration::from_secs(20 * 86_400));
        assert!(run.least_request_timeout.as_millis() <= 0x7fff_ffff);
        let zero = options(&[("timeout", Value::Number(0.0))]);
        let error = super::run(&command, Some(&zero)).err().unwrap();
        assert_eq!(
            error.message,
            "option `timeout` must be a whole number from 1 to 86400, not 0; 'none' sets no limit"
        );
    }

    #[test]
    fn bytes_are_asked_for_on_the_socket_alone() {
        let command = Value::Text("true".to_owned());
        let bytes = options(&[("encoding", Value::Text("bytes".to_owned()))]);
        let request = stream(&command, Some(&bytes)).ok().unwrap();
        assert_eq!(request.get("encoding"), Some(&Value::from("base64")));
        let text = options(&[("encoding", Value::Text("text".to_owned()))]);
        assert_eq!(stream(&command, Some(&text)).ok().unwrap().get("encoding"), None);
        let wrong = options(&[("encoding", Value::Text("utf8".to_owned()))]);
        assert!(stream(&command, Some(&wrong)).is_err());
        assert!(run(&command, Some(&wrong)).is_err());
    }
}
