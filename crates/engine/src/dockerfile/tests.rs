//! Dockerfiles as people write them, and faults.

use proptest::prelude::*;

use super::*;

fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

fn platform() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

fn read(text: &str) -> Plan {
    plan(text, &BTreeMap::new(), &platform()).unwrap_or_else(|fault| panic!("{fault}\n{text}"))
}

/// What `ubuntu` and `python` bring.
fn base() -> Config {
    let run = ImageConfig {
        envs: args(&[("PATH", "/usr/bin:/bin")]),
        workdir: "/".into(),
        cmd: vec!["/bin/bash".into()],
        ..ImageConfig::default()
    };
    run.into()
}

fn built_with(text: &str, given: &[(&str, &str)]) -> Built {
    let plan = plan(text, &args(given), &platform()).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    let mut built: Vec<Built> = Vec::new();
    for stage in &plan.stages {
        let base = match &stage.base {
            Base::Stage(number) => built[*number].config.clone(),
            Base::Scratch => Config::default(),
            Base::Image(_) => base(),
        };
        built.push(
            stage
                .resolve(&base)
                .unwrap_or_else(|fault| panic!("{fault}\n{text}")),
        );
    }
    built.pop().unwrap()
}

fn built(text: &str) -> Built {
    built_with(text, &[])
}

/// The steps, each on a line.
fn told(built: &Built) -> Vec<String> {
    let tell = |step: &Step| match &step.action {
        Action::Run(run) => format!("run {:?} in {} as {:?}", run.argv, run.cwd, run.user),
        Action::Copy(copy) => format!(
            "copy {:?} {:?} to {} of {:?} mode {:?} unpack {}",
            copy.from, copy.sources, copy.dst, copy.owner, copy.mode, copy.unpacks
        ),
        Action::Write { files, owner, mode } => format!("write {files:?} of {owner:?} mode {mode:?}"),
        Action::MakeDirectory { path, owner } => format!("mkdir {path} of {owner:?}"),
    };
    built.steps.iter().map(tell).collect()
}

fn shells(built: &Built) -> Vec<String> {
    let shell = |step: &Step| match &step.action {
        Action::Run(run) => Some(run.argv.last().unwrap().clone()),
        _ => None,
    };
    built.steps.iter().filter_map(shell).collect()
}

#[test]
fn an_application_of_python() {
    let built = built(
        r#"# syntax=docker/dockerfile:1
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 \
    # a comment between
    PATH="/opt/venv/bin:$PATH"

WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt && \
    # and here

    rm -rf /root/.cache
COPY --chown=app:app --chmod=0750 . .
USER app
EXPOSE 8000/tcp
CMD ["uvicorn", "main:app", "--host", "0.0.0.0"]
"#,
    );
    assert_eq!(
        told(&built),
        [
            r#"mkdir /app of None"#,
            r#"copy Context ["requirements.txt"] to /app/ of None mode None unpack false"#,
            r#"run ["/bin/sh", "-c", "pip install --no-cache-dir -r requirements.txt &&     rm -rf /root/.cache"] in /app as """#,
            r#"copy Context ["."] to /app/ of Some("app:app") mode Some(488) unpack false"#,
        ]
    );
    assert_eq!(built.config.run.envs["PATH"], "/opt/venv/bin:/usr/bin:/bin");
    assert_eq!(
        (built.config.run.workdir.as_str(), built.config.run.user.as_str()),
        ("/app", "app")
    );
    assert_eq!(
        built.config.start_command().as_deref(),
        Some("uvicorn main:app --host 0.0.0.0")
    );
    let lines: Vec<usize> = built.steps.iter().map(|step| step.line).collect();
    assert_eq!(lines, [8, 9, 10, 14]);
    assert_eq!(built.steps[1].text, "COPY requirements.txt .");
}

#[test]
fn an_application_of_several_stages() {
    let text = r#"
ARG NODE=20
FROM node:${NODE}-alpine AS Deps
WORKDIR /src
COPY package*.json ./
RUN ["npm", "ci"]
FROM deps AS build
COPY . .
RUN npm run build
FROM golang:1.22 AS unused
RUN go build ./...
FROM nginx:alpine
COPY --from=build /src/dist /usr/share/nginx/html
COPY --from=0 --link /src/package.json ["/with space/", "/etc/x/"]
COPY --from=busybox:musl /bin/busybox /bin/
"#
    .replace(
        r#"--link /src/package.json ["/with space/", "/etc/x/"]"#,
        r#"--link ["/src/a b.json", "/etc/x/"]"#,
    );
    let plan = read(&text);
    assert_eq!(plan.needed(), [0, 1, 3]);
    let bases: Vec<&Base> = plan.stages.iter().map(|stage| &stage.base).collect();
    let image = |name: &str| Base::Image(name.into());
    assert_eq!(
        bases,
        [
            &image("node:20-alpine"),
            &Base::Stage(0),
            &image("golang:1.22"),
            &image("nginx:alpine")
        ]
    );
    assert_eq!(
        told(&built(&text)),
        [
            r#"copy Stage(1) ["/src/dist"] to /usr/share/nginx/html of None mode None unpack false"#,
            r#"copy Stage(0) ["/src/a b.json"] to /etc/x/ of None mode None unpack false"#,
            r#"copy Image("busybox:musl") ["/bin/busybox"] to /bin/ of None mode None unpack false"#,
        ]
    );
    let stage = plan.stages[1]
        .resolve(&plan.stages[0].resolve(&base()).unwrap().config)
        .unwrap();
    assert_eq!(stage.config.run.workdir, "/src");
    assert!(stage.config.start_command().is_none());
}

#[test]
fn here_documents_are_scripts_inputs_and_files() {
    let built = built_with(
        r#"FROM ubuntu
ARG NAME=world
RUN <<EOF
apt-get update
RUN echo "not an instruction"
EOF
RUN cat <<EOF > /etc/motd
hello $NAME
FROM nowhere
EOF
RUN python3 - <<'PY' && cat <<-"SECOND"
print("$NAME")
PY
	tabs
	SECOND
RUN <<EOF cat
input
EOF
RUN <<EOF
#!/usr/bin/env python3
print(1)
EOF
RUN echo $((1 << 2)) "<<EOF" '<<X'
COPY <<EOF <<'RAW' /etc/conf/
name = "$NAME" \$NAME
EOF
name = $NAME
RAW
COPY <<EOF /etc/one
x
EOF
USER app
CMD echo done
"#,
        &[("NAME", "you")],
    );
    assert_eq!(
        shells(&built),
        [
            "apt-get update\nRUN echo \"not an instruction\"\n",
            "cat <<EOF > /etc/motd\nhello $NAME\nFROM nowhere\nEOF",
            "python3 - <<'PY' && cat <<-\"SECOND\"\nprint(\"$NAME\")\nPY\n\ttabs\n\tSECOND",
            "<<EOF cat\ninput\nEOF",
            "#!/usr/bin/env python3\nprint(1)\n",
            "echo $((1 << 2)) \"<<EOF\" '<<X'",
        ]
    );
    let told = told(&built);
    assert!(
        told.contains(&r#"write [("/etc/conf/EOF", "name = \"you\" $NAME\n"), ("/etc/conf/RAW", "name = $NAME\n")] of None mode None"#.into()),
        "{told:#?}"
    );
    assert!(
        told.contains(&r#"write [("/etc/one", "x\n")] of None mode None"#.into()),
        "{told:#?}"
    );
    assert_eq!(built.config.start_command().as_deref(), Some("echo done"));
    assert_eq!(built.config.run.user, "app");
    // Lines are those of the text, also behind documents that the parser does not know.
    assert_eq!(built.steps.last().unwrap().line, 29);
}

#[test]
fn a_script_with_an_interpreter_is_a_file_while_it_runs() {
    let built = built("FROM a\nRUN <<EOF\n#!/bin/sh -e\necho \"$0 it's \\\\\"\nexit 3\nEOF\n");
    let Action::Run(run) = &built.steps[0].action else {
        panic!()
    };
    let mut argv = run.argv.clone();
    // Elsewhere than in a machine.
    let place = tempfile::tempdir().unwrap();
    argv[3] = place.path().join("script").display().to_string();
    let output = std::process::Command::new(&argv[0])
        .args(&argv[1..])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("{} it's \\\n", argv[3])
    );
    assert!(!place.path().join("script").exists());
}

#[test]
fn arguments_have_the_values_that_docker_gives_them() {
    let text = r#"
ARG VERSION=1
ARG UNSET
FROM ubuntu AS one
ARG VERSION
ARG UNSET
ARG LOCAL=${VERSION}.x
ENV E=${LOCAL} VERSION_OF_ENV=$E
RUN echo
ENV LOCAL=env
RUN echo
FROM ubuntu
ARG TARGETARCH
RUN echo
LABEL v=$VERSION "quoted key"='single $x'
"#;
    let run = |built: &Built, number: usize| {
        let runs = built.steps.iter().filter_map(|step| match &step.action {
            Action::Run(run) => Some(run.clone()),
            _ => None,
        });
        runs.collect::<Vec<_>>()[number].envs.clone()
    };
    let one = |given: &[(&str, &str)]| {
        let plan = plan(text, &args(given), &platform()).unwrap();
        plan.stages[0].resolve(&base()).unwrap()
    };
    let stage = one(&[]);
    let path = ("PATH", "/usr/bin:/bin");
    let first = [
        path,
        ("VERSION", "1"),
        ("LOCAL", "1.x"),
        ("E", "1.x"),
        ("VERSION_OF_ENV", ""),
    ];
    assert_eq!(run(&stage, 0), args(&first));
    assert_eq!(run(&stage, 1)["LOCAL"], "env");
    assert!(!stage.config.run.envs.contains_key("VERSION"));
    let stage = one(&[
        ("VERSION", "2"),
        ("UNSET", ""),
        ("OTHER", "x"),
        ("HTTP_PROXY", "http://p"),
    ]);
    let envs = run(&stage, 0);
    assert_eq!(
        (
            envs["E"].as_str(),
            envs["UNSET"].as_str(),
            envs["HTTP_PROXY"].as_str()
        ),
        ("2.x", "", "http://p")
    );
    assert!(!envs.contains_key("OTHER"));

    let last = built(text);
    assert_eq!(run(&last, 0), args(&[path, ("TARGETARCH", "amd64")]));
    assert_eq!(
        last.config.run.labels,
        args(&[("v", ""), ("quoted key", "single $x")])
    );
}

#[test]
fn words_with_variables_are_replaced_everywhere_that_docker_does_it() {
    let built = built(
        r#"FROM --platform=$TARGETPLATFORM ubuntu
ENV DIR /a b
ENV OLD form with  spaces
ENV WHO=me MODE=0600 PORT=80
WORKDIR $DIR/sub
WORKDIR ../other
USER ${WHO}:${GROUP:-staff}
COPY --chown=$WHO --chmod=$MODE $WHO/* /x/${WHO}/
ADD site.tar.gz \$literal/
EXPOSE $PORT ${PORT}80-8090/udp
VOLUME ["/data/$WHO"]
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN echo $WHO
ENTRYPOINT exec $WHO
"#,
    );
    assert_eq!(
        told(&built),
        [
            r#"mkdir /a b/sub of None"#,
            r#"mkdir /a b/other of None"#,
            r#"copy Context ["me/*"] to /x/me/ of Some("me") mode Some(384) unpack false"#,
            r#"copy Context ["site.tar.gz"] to /a b/other/$literal/ of None mode None unpack true"#,
            r#"mkdir /data/me of None"#,
            r#"run ["/bin/bash", "-o", "pipefail", "-c", "echo $WHO"] in /a b/other as "me:staff""#,
        ]
    );
    assert_eq!(built.config.run.envs["OLD"], "form with  spaces");
    assert_eq!(
        built.config.start_command().as_deref(),
        Some("/bin/bash -o pipefail -c 'exec $WHO'")
    );
}

#[test]
fn what_starts_is_what_the_dockerfile_says() {
    let mut with_entrypoint = base();
    with_entrypoint.run.entrypoint = vec!["/entry".into()];
    let start = |text: &str, base: &Config| {
        let plan = read(text);
        plan.stages[0].resolve(base).unwrap().config.start_command()
    };
    for (text, base, expected) in [
        ("FROM a", &base(), None),
        ("FROM a\nCMD [\"x\", \"it's\"]", &base(), Some(r"x 'it'\''s'")),
        ("FROM a\nCMD [\"serve\"]", &with_entrypoint, Some("/entry serve")),
        ("FROM a\nENTRYPOINT [\"x\"]", &base(), Some("x")),
        ("FROM a\nCMD [\"y\"]\nENTRYPOINT [\"x\"]", &base(), Some("x y")),
        ("FROM a\nENTRYPOINT []\nCMD [\"y\"]", &with_entrypoint, Some("y")),
        (
            "FROM a\nentrypoint  [ ]\nRUN x\nCMD y z",
            &with_entrypoint,
            Some("y z"),
        ),
        ("FROM a\nCMD []", &base(), None),
        ("FROM a\nCMD a && b", &base(), Some("a && b")),
    ] {
        assert_eq!(start(text, base).as_deref(), expected, "{text}");
    }
}

#[test]
fn flags_of_run_are_secrets_caches_and_no_network() {
    let text = "FROM a\nWORKDIR /w\nRUN --mount=type=secret,id=token,required=true,mode=0444 --mount=type=secret,id=k,env=K \
        --mount=type=cache,target=/root/.cache --mount=type=cache,target=rel,sharing=locked --network=none pip install x\n";
    let built = built(text);
    let Action::Run(run) = &built.steps.last().unwrap().action else {
        panic!()
    };
    let secret = |id: &str| SecretMount {
        id: id.into(),
        target: None,
        env: None,
        is_required: false,
        mode: 0o400,
        uid: 0,
        gid: 0,
    };
    assert_eq!(
        run.secrets,
        [
            SecretMount {
                target: Some("/run/secrets/token".into()),
                is_required: true,
                mode: 0o444,
                ..secret("token")
            },
            SecretMount {
                env: Some("K".into()),
                ..secret("k")
            },
        ]
    );
    assert!(!run.has_network);
    assert_eq!(
        told(&built)[1..3],
        ["mkdir /root/.cache of None", "mkdir /w/rel of None"]
    );
    assert_eq!(read(text).warnings.len(), 1);
}

#[test]
fn what_has_no_effect_here_is_told() {
    let plan = read("FROM a\nSTOPSIGNAL SIGTERM\nHEALTHCHECK --interval=5s CMD curl x\nVOLUME /data\nMAINTAINER me\nEXPOSE 1\n");
    let lines: Vec<&str> = plan.warnings.iter().map(|warning| &warning[..17]).collect();
    assert_eq!(
        lines,
        ["Dockerfile line 2", "Dockerfile line 3", "Dockerfile line 4"]
    );
}

#[test]
fn other_forms_of_text_are_read_too() {
    for text in [
        "\u{feff}FROM a\r\nRUN x \\\r\n  y\r\n",
        "# escape=`\nFROM a\nRUN x `\n  y\nCOPY c:\\x /d/\n",
        "\n\n  from a\n  run x \\\n  y",
        "# a comment\n#\n# escape=`\nFROM a\nRUN x \\\n  y",
        "FROM a\nRUN cat <<E\nE\nRUN x \\\n  y",
    ] {
        let built = built(text);
        assert_eq!(shells(&built).last().unwrap(), "x   y", "{text:?}");
    }
    let windows = built("# escape=`\nFROM a\nCOPY c:\\x /d/\n");
    assert_eq!(
        told(&windows),
        [r#"copy Context ["c:\\x"] to /d/ of None mode None unpack false"#]
    );
}

/// Text, line, and what is said.
const FAULTS: &[(&str, usize, &str)] = &[
    ("", 1, "FROM"),
    ("# only\n", 1, "FROM"),
    ("RUN x\n", 1, "FROM"),
    ("ARG A=1\n", 1, "FROM"),
    ("FROM a\nFOO bar\n", 2, "FOO"),
    ("FROM a\n\nRUN x\nINVALID", 4, "INVALID"),
    ("FROM a\nRUN cat <<E\nx\nE\n\nNOPE x\n", 6, "NOPE"),
    ("FROM a\nRUN cat <<E\nx\n", 2, "<<E"),
    ("FROM a\nRUN <<E\nx\n", 2, "here-document"),
    ("FROM a\nRUN x\nFROM b AS 1x\n", 3, "1x"),
    ("FROM a AS x\nFROM b AS X\n", 2, "already"),
    ("FROM --other=x a\n", 1, "--platform"),
    ("FROM --platform=windows/amd64 a\n", 1, "linux/amd64"),
    ("FROM --platform=linux/arm64 a\n", 1, "linux/amd64"),
    ("ARG B\nFROM $B\n", 2, "ARG BASE="),
    ("FROM ${B:?missing}\n", 1, "missing"),
    ("FROM a\nARG 1x=2\n", 2, "1x"),
    ("FROM a\nARG a-b\n", 2, "a-b"),
    ("FROM a\nENV A\n", 2, "NAME=value"),
    ("FROM a\nENV A=1 B\n", 2, "\"B\""),
    ("FROM a\nENV A=1 =2\n", 2, "NAME=value"),
    ("FROM a\nENV A=\"x\n", 2, "no end"),
    ("FROM a\nENV A=${x#y}\n", 2, "${x:-y}"),
    ("FROM a\nENV\n", 2, "ENV"),
    ("FROM a\nCOPY x\n", 2, "COPY"),
    ("FROM a\nCOPY x y /z\n", 2, "slash"),
    ("FROM a\nCOPY ../x /z\n", 2, "leads out"),
    ("FROM a\nCOPY $none /z\n", 2, "empty"),
    ("FROM a\nCOPY x $none\n", 2, "no destination"),
    ("FROM a\nCOPY --from=b$x y /z\n", 2, "variables"),
    ("FROM a AS one\nCOPY --from=one y /z\n", 2, "no earlier stage"),
    ("FROM a\nCOPY --from=1 y /z\nFROM b\n", 2, "no earlier stage"),
    ("FROM a\nCOPY --from= y /z\n", 2, "name of a stage"),
    ("FROM a\nFROM b\nCOPY --from=0 <<E /z\nE\n", 3, "nowhere else"),
    ("FROM a\nCOPY --chmod=u+x y /z\n", 2, "0755"),
    ("FROM a\nCOPY --chmod=99999 y /z\n", 2, "0755"),
    ("FROM a\nCOPY --chown= y /z\n", 2, "name:group"),
    ("FROM a\nCOPY --exclude=x y /z\n", 2, "--exclude"),
    ("FROM a\nADD --from=0 y /z\n", 2, "only COPY"),
    ("FROM a\nADD https://example.test/x /z\n", 2, "curl"),
    ("FROM a\nADD git@example.test:x.git /z\n", 2, "curl"),
    ("FROM a\nONBUILD RUN x\n", 2, "ONBUILD"),
    ("FROM a\nRUN --mount=type=bind,target=/x y\n", 2, "type=secret"),
    ("FROM a\nRUN --mount=target=/x y\n", 2, "type=secret"),
    ("FROM a\nRUN --mount=type=ssh y\n", 2, "type=ssh"),
    ("FROM a\nRUN --mount=type=cache y\n", 2, "target="),
    ("FROM a\nRUN --mount=type=secret y\n", 2, "id="),
    ("FROM a\nRUN --mount=type=secret,id=x,mode=9 y\n", 2, "mode="),
    ("FROM a\nRUN --mount=type=secret,id=$x y\n", 2, "variables"),
    ("FROM a\nRUN --network=host y\n", 2, "--network=host"),
    ("FROM a\nRUN --security=insecure y\n", 2, "insecure"),
    ("FROM a\nRUN []\n", 2, "RUN"),
    ("FROM a\nSHELL bash\n", 2, "JSON"),
    ("FROM a\nUSER a:b:c\n", 2, "name:group"),
    ("FROM a\nUSER $none\n", 2, "name:group"),
    ("FROM a\nWORKDIR $none\n", 2, "WORKDIR /app"),
    ("FROM a\nEXPOSE http\n", 2, "8080"),
    ("FROM a\nEXPOSE 70000\n", 2, "8080"),
    ("FROM a\nENV A=1\n\n\nRUN x \\\n  y\nEXPOSE 0\n", 7, "8080"),
    ("FROM a\nRUN a\0b\n", 2, "zero byte"),
];

#[test]
fn faults_have_their_line_and_say_what_to_do() {
    for (text, line, words) in FAULTS {
        let fault = match plan(text, &BTreeMap::new(), &platform()) {
            Err(fault) => fault,
            Ok(plan) => {
                let resolved: Result<Vec<Built>, Fault> =
                    plan.stages.iter().map(|stage| stage.resolve(&base())).collect();
                resolved.map(|built| format!("{built:?}")).expect_err(text)
            }
        };
        let shown = fault.to_string();
        assert_eq!(fault.line, *line, "{text:?}: {shown}");
        assert!(shown.contains(words), "{text:?}: {shown}");
        assert!(
            shown.starts_with("Dockerfile line ") && !shown.contains('\n'),
            "{shown:?}"
        );
    }
}

#[test]
fn a_base_that_wants_instructions_to_be_run_is_refused() {
    let mut wanting = base();
    wanting.run.on_build = vec!["RUN make".into()];
    let fault = read("FROM a\n").stages[0].resolve(&wanting).unwrap_err();
    assert!(fault.to_string().contains("RUN make"), "{fault}");
}

#[test]
fn a_text_of_many_here_documents_is_read_in_time() {
    let text = format!("FROM a\n{}", "RUN cat <<E\nE\n".repeat(2000));
    assert_eq!(shells(&built(&text)).len(), 2000);
    let large = format!("FROM a\n{}", "#\n".repeat(1 << 20));
    assert!(plan(&large, &BTreeMap::new(), &platform()).is_err());
}

proptest! {
    #[test]
    fn fuzz_any_text_is_a_plan_or_a_fault(
        lines in prop::collection::vec(
            "(FROM|ARG|ENV|RUN|COPY|ADD|WORKDIR|USER|LABEL|EXPOSE|SHELL|CMD|ENTRYPOINT|VOLUME|# escape=`|ONBUILD|HEALTHCHECK|EOF)? ?\
             [a-z$ {}:=+\\-\\[\\]\"',./<\\\\\t\u{e4}#E0-9]{0,24}",
            0..12,
        ),
    ) {
        for text in [lines.join("\n"), format!("FROM a\n{}", lines.join("\n"))] {
            if let Ok(plan) = plan(&text, &BTreeMap::new(), &platform()) {
                for stage in &plan.stages {
                    let _ = stage.resolve(&base());
                }
                prop_assert!(!plan.needed().is_empty());
            }
        }
    }
}
