#!/usr/bin/env python3
"""The image without a container engine: runs the builder stage of the Dockerfile, instruction by instruction, on the
build context that .dockerignore leaves, and looks at the program that the image would run. Of the stage `optimized`,
which takes too long, it checks what sends the requests, which shows that the context has all that deploy/build needs.

Takes the program with the demo, which shows that each thing not found in the image's program would be found. Says each
check, and fails at the first that fails. Keeps what was built in target/ci/image.
"""

import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PLACE = REPOSITORY / "target/ci/image"
CONTEXT, BUILDER = PLACE / "context", PLACE / "builder"
# Unoptimized, which takes a few minutes on two cores and leaves more names to find than the image's program has.
QUICK = {
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: image.py PROGRAM, where PROGRAM is fapi-gateway with the demo")
    with_demo = Path(sys.argv[1]).resolve()
    assemble_context()
    stages = instructions((REPOSITORY / "Dockerfile").read_text(encoding="utf-8"))
    if len(stages) != 4:
        sys.exit(f"the Dockerfile has {len(stages)} stages, not two builders, a choice and the image")
    folder = build(stages[0])
    program = program_of(stages[3], folder)
    check_program(program)
    check_absence(program, with_demo)
    check_optimized(stages[1], folder)


def assemble_context():
    """Copies what `docker build .` would send."""
    patterns = ignore_patterns((REPOSITORY / ".dockerignore").read_text(encoding="utf-8"))
    shutil.rmtree(CONTEXT, ignore_errors=True)
    count = 0
    for directory, folders, files in os.walk(REPOSITORY):
        below = Path(directory).relative_to(REPOSITORY)
        folders[:] = [name for name in folders if may_hold_context((below / name).as_posix(), patterns)]
        for name in files:
            if not ignored((below / name).as_posix(), patterns):
                (CONTEXT / below).mkdir(parents=True, exist_ok=True)
                shutil.copy2(Path(directory) / name, CONTEXT / below / name)
                count += 1
    print(f"ok: the build context has {count} files")


def ignore_patterns(text):
    """The lines of .dockerignore as (lets in, pattern, expression), in order."""
    patterns = []
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if re.search(r"[][\\]", line):
            sys.exit(f"{line} in .dockerignore is not understood by this check")
        lets_in = line.startswith("!")
        pattern = line.lstrip("!").strip("/")
        parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        tokens = re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", pattern)
        expression = "".join(parts.get(token, re.escape(token)) for token in tokens)
        patterns.append((lets_in, pattern, re.compile(expression)))
    return patterns


def ignored(path, patterns):
    """The last line that names the path, or a folder that it is in, decides."""
    above = [path, *map(str, Path(path).parents)]
    verdict = False
    for lets_in, _, expression in patterns:
        if any(expression.fullmatch(name) for name in above):
            verdict = not lets_in
    return verdict


def may_hold_context(folder, patterns):
    reopened = any(
        lets_in and (pattern.startswith(folder + "/") or "*" in pattern) for lets_in, pattern, _ in patterns
    )
    return reopened or not ignored(folder, patterns)


def instructions(dockerfile):
    """(instruction, argument) by stage."""
    lines = "\n".join(line for line in dockerfile.splitlines() if not line.startswith("#"))
    stages = []
    for line in filter(None, map(str.strip, lines.replace("\\\n", " ").splitlines())):
        name, argument = line.split(None, 1)
        if name == "FROM":
            stages.append([])
        if stages:
            stages[-1].append((name, argument))
        elif (name, argument) != ("ARG", "PROGRAM=builder"):
            sys.exit(f"{line} before the first stage is not understood by this check")
    return stages


def build(stage):
    """Runs the builder stage; gives the path that its working directory has there, such as /build."""
    BUILDER.mkdir(parents=True, exist_ok=True)
    for entry in BUILDER.iterdir():
        if entry.name != "target":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    folder = None
    not_in_a_container = ("RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET")
    variables = {name: value for name, value in os.environ.items() if name not in not_in_a_container}
    for name, argument in stage:
        if name == "FROM":
            continue
        print(f"{name} {' '.join(argument.split())}", flush=True)
        if name == "WORKDIR":
            folder = argument
        elif name == "ARG":
            variable, _, default = argument.partition("=")
            variables.setdefault(variable, default)
        elif name == "COPY":
            copy(shlex.split(argument))
        elif name == "RUN":
            result = subprocess.run(["/bin/sh", "-c", argument], cwd=BUILDER, env=variables | QUICK, check=False)
            if result.returncode != 0:
                sys.exit(f"FAILED: RUN ended with {result.returncode}")
        else:
            sys.exit(f"{name} in the builder stage is not understood by this check")
    return folder


def copy(words):
    *sources, target = words
    if any(word.startswith("-") for word in words) or target.startswith("/"):
        sys.exit("COPY in the builder stage has an option or an absolute target, which this check does not understand")
    into = target.endswith("/") or len(sources) > 1
    for source in sources:
        found = glob.glob(str(CONTEXT / source))
        if not found:
            sys.exit(f"COPY: {source} is not in the build context")
        for path in map(Path, found):
            if path.is_dir():
                shutil.copytree(path, BUILDER / target, dirs_exist_ok=True)
            else:
                place = BUILDER / target / path.name if into else BUILDER / target
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, place)


def program_of(stage, folder):
    """The file that the image's entry point names, where the builder left it."""
    (entry,) = [json.loads(argument)[0] for name, argument in stage if name == "ENTRYPOINT"]
    (copied,) = [argument for name, argument in stage if name == "COPY"]
    origin, source, target = [word for word in shlex.split(copied) if not word.startswith("--ch")]
    if (origin, target) != ("--from=program", entry) or not source.startswith(folder + "/"):
        sys.exit(f"the entry point {entry} is not what is copied from the program's stage: {copied}")
    return BUILDER / source.removeprefix(folder + "/")


def check_optimized(stage, folder):
    """What deploy/build builds first; the rest is what the builder did, with other flags."""
    if [argument for name, argument in stage if name == "COPY"] != [". ."]:
        sys.exit("the stage `optimized` does not copy the whole context, which this check does not understand")
    if ("WORKDIR", folder) not in stage:
        sys.exit("the stages build in different folders")
    script = (CONTEXT / "deploy/build").read_text(encoding="utf-8")
    training = "cargo build --locked --example train"
    if training not in script:
        sys.exit(f"deploy/build does not say `{training}`")
    checking = [*training.replace("build", "check").split(), "--target-dir", PLACE / "training"]
    result = subprocess.run(checking, cwd=CONTEXT, check=False)
    if result.returncode != 0:
        sys.exit("FAILED: the context lacks something that deploy/build needs")
    print("ok: the context has what deploy/build needs")


def check_program(program):
    (version,) = [package["version"] for package in packages() if package["name"] == "fapi-gateway"]
    expect("--version", [program, "--version"], 0, f"fapi-gateway {version}\n")
    with tempfile.TemporaryDirectory() as files:
        configuration = Path(files) / "gateway.yaml"
        text = (REPOSITORY / "deploy/gateway.yaml").read_text(encoding="utf-8")
        configuration.write_text(text.replace("/etc/fapi-gateway/", f"{files}/"), encoding="utf-8")
        for name in ["tls/tls", "client-ca/ca", "issuer-ca/ca"]:
            (Path(files) / name).parent.mkdir()
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            command += ["-subj", "/CN=image check", "-addext", "subjectAltName=DNS:api.bank.example", "-days", "2"]
            command += ["-keyout", f"{files}/{name}.key", "-out", f"{files}/{name}.crt"]
            subprocess.run(command, check=True, capture_output=True)
        expect("check of deploy/gateway.yaml", [program, "check", "--config", configuration], 0, "accounts")


def packages():
    """Those of the workspace, as cargo describes them."""
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version=1"]
    return json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True).stdout)["packages"]


def check_absence(program, with_demo):
    """The demo, and the crate that makes its servers and tokens, are in the other program and not in the image's."""
    expect("no command `demo`", [program, "demo", "--once"], 2, "unrecognized subcommand 'demo'")
    expect("control: the command `demo`", [with_demo, "demo", "--help"], 0, "--once")
    sandbox = [
        package["name"].replace("-", "_")
        for package in packages()
        if Path(package["manifest_path"]).parent == REPOSITORY / "crates/sandbox"
    ]
    if len(sandbox) != 1:
        sys.exit("crates/sandbox is not a member of the workspace")
    names, all_names = symbols(program), symbols(with_demo)
    if not containing("fapi_gateway::", names):
        sys.exit(f"FAILED: {program} has no symbols to look at")
    for what in [f"{sandbox[0]}::", "fapi_gateway::commands::demo"]:
        absent(f"symbol {what}", containing(what, names), containing(what, all_names))
    # Places in the source, as panics name them.
    texts, all_texts = strings(program), strings(with_demo)
    for what in ["crates/sandbox/", "src/commands/demo/"]:
        absent(f"path {what}", containing(what, texts), containing(what, all_texts))


def symbols(program):
    command = ["nm", "--demangle", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def strings(program):
    return [text.decode() for text in re.findall(rb"[ -~]{4,}", program.read_bytes())]


def containing(text, lines):
    """The first of the lines that contain it, at the beginning of a word."""
    word = re.compile(r"(?<![A-Za-z0-9_])" + re.escape(text))
    return next(filter(word.search, lines), None)


def absent(what, found, control):
    if found:
        sys.exit(f"FAILED: the image's program has the {what}: {found}")
    if not control:
        sys.exit(f"FAILED: the program with the demo has no {what} either, so its absence shows nothing")
    print(f"ok: no {what}")


def expect(what, command, status, text):
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if result.returncode != status or text not in result.stdout + result.stderr:
        sys.exit(f"FAILED: {what}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
    print(f"ok: {what}")


if __name__ == "__main__":
    main()
