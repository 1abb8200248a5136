#!/usr/bin/env python3
"""The image without a container engine: runs the builder stage of the Dockerfile, instruction by instruction, on the
build context that .dockerignore leaves, looks at what the image would have, and runs its program as a pod does: with the
libraries of its base alone, another user, a file system that cannot be written, no capabilities, and the system calls that
the unit for systemd allows, which are fewer than those of a container engine. Of the stage `optimized`,
which takes too long, it checks what sends the requests, which shows that the context has all that deploy/build needs.

Takes the program with the demo, which shows that each thing not found in the image's program would be found, and makes the
call that the image's program answers. Says each check, and fails at the first that fails. Keeps what was built in
target/ci/image.
"""

import contextlib
import glob
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
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
    if len(stages) != 5:
        sys.exit(f"the Dockerfile has {len(stages)} stages, not a toolchain, two builders, a choice and the image")
    folder = build(stages[0] + stages[1])
    image, program = image_of(stages[4], folder)
    check_program(program)
    check_absence(program, with_demo)
    check_contents(image, program)
    check_confined(image, program, with_demo)
    check_optimized(stages[2], folder)


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


def image_of(stage, folder):
    """What the image adds to its base, where the builder left it, and the file there that its entry point names."""
    (entry,) = [json.loads(argument)[0] for name, argument in stage if name == "ENTRYPOINT"]
    (copied,) = [argument for name, argument in stage if name == "COPY"]
    origin, source, target = [word for word in shlex.split(copied) if not word.startswith("--ch")]
    if (origin, target) != ("--from=program", "/") or not source.startswith(folder + "/"):
        sys.exit(f"what is copied is not what the program's stage made: {copied}")
    image = BUILDER / source.removeprefix(folder + "/")
    program = image / entry.lstrip("/")
    if not program.is_file():
        sys.exit(f"the entry point {entry} is not in what is copied")
    return image, program


def check_optimized(stage, folder):
    """What deploy/build builds first; the rest is what the builder did, with other flags."""
    if [argument for name, argument in stage if name == "COPY"] != [". ."]:
        sys.exit("the stage `optimized` does not copy the whole context, which this check does not understand")
    if "WORKDIR" in [name for name, _ in stage]:
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
        text = (REPOSITORY / "deploy/kubernetes/base/gateway.yaml").read_text(encoding="utf-8")
        configuration.write_text(text.replace("/etc/fapi-gateway/", f"{files}/"), encoding="utf-8")
        for name in ["tls/tls", "client-ca/ca", "issuer-ca/ca"]:
            (Path(files) / name).parent.mkdir()
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            command += ["-subj", "/CN=image check", "-addext", "subjectAltName=DNS:api.bank.example", "-days", "2"]
            command += ["-keyout", f"{files}/{name}.key", "-out", f"{files}/{name}.crt"]
            subprocess.run(command, check=True, capture_output=True)
        expect("check of deploy/kubernetes/base/gateway.yaml", [program, "check", "--config", configuration], 0, "accounts")


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


def check_contents(image, program):
    """Nothing but the program, its licence and the list of what is in it; no folder that it was built in is named."""
    files = sorted(path.relative_to(image).as_posix() for path in image.rglob("*") if path.is_file())
    documents = "usr/local/share/doc/fapi-gateway"
    if files != ["usr/local/bin/fapi-gateway", f"{documents}/LICENSE", f"{documents}/fapi-gateway.cdx.json"]:
        sys.exit(f"FAILED: the image has {files}")
    print("ok: the image has the program, its licence and the list of what is in it")
    for folder in (str(BUILDER), str(Path.home() / ".cargo")):
        found = next((text for text in strings(program) if folder in text), None)
        if found:
            sys.exit(f"FAILED: the program names the folder {folder}: {found}")
    if not any("/cargo/registry/src/" in text for text in strings(program)):
        sys.exit("FAILED: the program names no source at all, so this shows nothing")
    print("ok: the program does not name the folders that it was built in")

    listed = json.loads((image / documents / "fapi-gateway.cdx.json").read_text(encoding="utf-8"))
    if listed["bomFormat"] != "CycloneDX" or listed["metadata"]["component"]["name"] != "fapi-gateway":
        sys.exit(f"FAILED: the list is not one of fapi-gateway in CycloneDX: {listed['metadata']}")
    components = {(component["name"], component["version"]): component for component in listed["components"]}
    command = ["cargo", "tree", "--locked", "--package=fapi-gateway", "--no-default-features", "--features=mimalloc,pkcs11"]
    command += ["--edges=normal", "--prefix=none", "--format={p}"]
    tree = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    linked = {(name, version.lstrip("v")) for name, version, *_ in map(str.split, tree.splitlines()) if name != "fapi-gateway"}
    if len(linked) < 100 or linked - set(components):
        sys.exit(f"FAILED: the list lacks {sorted(linked - set(components))} of {len(linked)} crates")
    if any(name == "sandbox" for name, _ in components):
        sys.exit("FAILED: the list has the crate of the demo")
    if str(BUILDER) in json.dumps(listed):
        sys.exit("FAILED: the list names the folder that it was made in")
    print(f"ok: the list has all {len(linked)} crates that are in the program")


# What distroless/cc has: the C library and the compiler's own.
LIBRARIES = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1", "ld-linux-x86-64.so.2"}
LIBRARIES |= {"ld-linux-aarch64.so.1", "linux-vdso.so.1"}


def check_confined(image, program, with_demo):
    """A call through the program in a root file system of its own, with as few rights as in a pod."""
    root = PLACE / "root"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(image, root)
    for line in subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout.splitlines():
        name, _, place = line.strip().partition(" => ")
        path = Path((place or name).split(" (")[0])
        if path.name not in LIBRARIES and path.name.split(" ")[0] not in LIBRARIES:
            sys.exit(f"FAILED: the program needs {path}, which its base does not have")
        if path.is_absolute():
            (root / path.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, root / path.relative_to("/"))
    print("ok: the program needs no library that its base does not have")
    for name in ["etc/fapi-gateway", "etc/ssl/certs", "proc", "dev", "tmp"]:
        (root / name).mkdir(parents=True)
    # The base has these as well.
    authorities = "etc/ssl/certs/ca-certificates.crt"
    shutil.copy2(Path("/") / authorities, root / authorities)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as files, contextlib.ExitStack() as ending:
        place = Path(files) / "gateway"
        ports = [str(port) for port in free_ports(4)]
        options = zip(["--port", "--admin-port", "--issuer-port", "--api-port"], ports)
        run([with_demo, "init", place, *(word for option in options for word in option)])
        other = ending.enter_context(running([with_demo, "sandbox", "--api", f"127.0.0.1:{ports[3]}"], place))
        # The files belong to whoever runs this, and the program is somebody else.
        for path in [place, *place.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        command = confined(root, place, ending) + ["/usr/local/bin/fapi-gateway", "run", "--config", "/etc/fapi-gateway/gateway.yaml"]
        gateway = ending.enter_context(running(command, place))
        until_ready(ports[1], gateway, other)
        child = check_rights(gateway)
        token = run([with_demo, "token", "--certificate", "tls/client.pem"], place).strip()
        url = f"https://localhost:{ports[0]}/accounts"
        curl = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--cacert", "tls/ca.pem"]
        curl += ["--cert", "tls/client.pem", "--key", "tls/client-key.pem"]
        status = run([*curl, "--header", f"Authorization: Bearer {token}", url], place)
        if status != "200":
            sys.exit(f"FAILED: the call was answered with {status}")
        if run([*curl, url], place) != "401":
            sys.exit("FAILED: a call without a token was not refused")
        os.kill(child, signal.SIGTERM)
        if gateway.wait(timeout=60) != 0:
            sys.exit(f"FAILED: the program ended with {gateway.returncode}")
    print("ok: a call with a token passed, one without did not, and the program ended as it should")


def confined(root, folder, ending):
    """The beginning of a command that runs a program there, as user 65532 with nothing of this machine but the network."""
    filtered = ending.enter_context(tempfile.TemporaryFile())
    seccomp_filter(filtered)
    ending.callback(os.close, descriptor := os.dup(filtered.fileno()))
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    command = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--uid", "65532", "--gid", "65532"]
    command += ["--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--ro-bind", folder, "/etc/fapi-gateway"]
    command += ["--cap-drop", "ALL", "--die-with-parent", "--as-pid-1", "--seccomp", str(descriptor), "--"]
    return command


def seccomp_filter(file):
    """Lets through the system calls that the unit for systemd allows, and answers every other with EPERM."""
    unit = (REPOSITORY / "deploy/package/fapi-gateway.service").read_text(encoding="utf-8")
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.M):
        calls = system_calls(line.lstrip("~").split())
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    # Debian's own interpreter, which has Debian's modules.
    script = "import errno, seccomp, sys\nfilter = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))\n"
    script += "for call in sys.argv[1:]:\n    try: filter.add_rule(seccomp.ALLOW, call)\n    except (RuntimeError, ValueError): pass\n"
    script += "filter.export_bpf(sys.stdout)"
    # What bwrap itself calls after it has the filter.
    subprocess.run(["/usr/bin/python3", "-c", script, *sorted(allowed | {"execve"})], check=True, stdout=file)


def system_calls(names):
    """The calls of systemd's sets, and of the sets in them."""
    calls = set()
    for name in names:
        if name.startswith("@"):
            listed = run(["systemd-analyze", "--no-pager", "syscall-filter", name]).splitlines()[1:]
            calls |= system_calls([line.strip() for line in listed if line.strip() and not line.strip().startswith("#")])
        else:
            calls.add(name)
    return calls


def check_rights(process):
    """What the system says of the program, which is the child of bwrap; gives its number."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    status = Path(f"/proc/{children[0]}/status").read_text(encoding="utf-8")
    said = dict(line.split(":", 1) for line in status.splitlines())
    found = {name: said[name].strip() for name in ["CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"]}
    none = "0" * 16
    wanted = {"CapEff": none, "CapPrm": none, "CapBnd": none, "CapAmb": none, "NoNewPrivs": "1", "Seccomp": "2"}
    if found != wanted:
        sys.exit(f"FAILED: the program runs with {found}")
    mounts = Path(f"/proc/{children[0]}/mounts").read_text(encoding="utf-8").splitlines()
    writable = [line.split()[1] for line in mounts if "rw" in line.split()[3].split(",")]
    if any(not place.startswith(("/proc", "/dev")) for place in writable):
        sys.exit(f"FAILED: the program can write to {writable}")
    print("ok: it runs without capabilities, on a read-only file system, with a filter of system calls")
    return int(children[0])


def until_ready(port, *processes):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in processes:
            if process.poll() is not None:
                sys.exit(f"FAILED: {process.args} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        select.select([], [], [], 0.1)
    sys.exit("FAILED: the gateway does not become ready")


@contextlib.contextmanager
def running(command, folder):
    """A program that is ended with the block."""
    # Its audit would have tokens' ids in it, which nobody reads here.
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, close_fds=False) as process:
        try:
            yield process
        finally:
            process.kill()


def run(command, folder=None):
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60).stdout


def free_ports(count):
    with contextlib.ExitStack() as sockets:
        opened = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [opened_socket.getsockname()[1] for opened_socket in opened]


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
