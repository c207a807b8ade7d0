#!/bin/bash
# build.sh [OUT] [--with-python]
#
# Builds an emulated arm64 device with a real sshd and a real adbd, and an adbd
# for this host, into OUT (default ~/.cache/devicekit-emulated).  Debian 12 only:
# the android-* packages and their patches differ in every release.
# A second run does only what changed: each step leaves a stamp named after the
# hash of its own text, of the files it reads and of the steps before it.
set -euo pipefail
export LC_ALL=C
exec 3>&2

# Installed by apt-get when they are missing and we are root.
HOST_PACKAGES=(
    clang lld make g++-aarch64-linux-gnu    # build adbd
    dpkg-dev                                # unpack the source package
    cpio kmod e2fsprogs dropbear-bin        # make initrd, disk, host key
    qemu-system-arm openssh-client python3  # run the machine
    adb bubblewrap                          # talk to it; run adbd on the host
)
# Libraries and headers to link adbd against, for amd64 and arm64.
ADBD_DEBS=(
    android-libbase android-libcutils android-liblog android-libboringssl
    android-libbase-dev android-libcutils-dev android-liblog-dev
    android-libboringssl-dev libcap-dev
    android-platform-system-core-headers:amd64  # the same for all architectures
)
# The whole content of the disk image, besides adbd and image/.
BOARD_DEBS=(
    libc6 libgcc-s1 libstdc++6 zlib1g libcrypt1 libtommath1 libtomcrypt1 libgmp10
    dropbear-bin busybox-static openssh-sftp-server
    bash libtinfo6 libc-bin                 # for ldd and getconf: which libc is there?
    android-libbase android-libcutils android-liblog android-libboringssl
)
PYTHON_DEBS=(
    python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3.11
    libexpat1 libssl3 libbz2-1.0 liblzma5 libffi8 libsqlite3-0 libncursesw6
    libreadline8 libuuid1 libdb5.3 libnsl2 libtirpc3 libgssapi-krb5-2 libkrb5-3
    libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1
)
BUSYBOX_COMMANDS=(
    awk basename cat chmod chown cmp cp cut date dd df dirname dmesg du echo env
    expr false find free grep gunzip gzip head hostname id ip kill killall ln ls
    md5sum mkdir mktemp mount mv nice nproc pgrep pidof poweroff printenv printf
    ps pwd readlink realpath rm rmdir sed seq setsid sh sha256sum sleep sort stat sync
    tail tar taskset tee test time timeout top touch tr true tty umount uname
    uniq unzip uptime usleep wc which xargs yes zcat
)

HERE=$(cd "$(dirname "$0")" && pwd)
OUT=
WITH_PYTHON=
for arg in "$@"; do
    case $arg in
        --with-python) WITH_PYTHON=1 ;;
        -*) echo "unknown option $arg" >&2; exit 2 ;;
        *) OUT=$arg ;;
    esac
done
OUT=${OUT:-${DEVICEKIT_EMULATED:-${XDG_CACHE_HOME:-$HOME/.cache}/devicekit-emulated}}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
mkdir -p "$OUT"/{stamps,logs,run}

. /etc/os-release
if [ "${VERSION_CODENAME:-}" != bookworm ] || [ "$(dpkg --print-architecture)" != amd64 ]; then
    echo "build.sh needs Debian 12 (bookworm) on amd64, e.g. a debian:12 container" >&2
    exit 1
fi

# --- helpers -----------------------------------------------------------------

CHAIN=  # hash of all steps so far
# step NAME FILES USES: run the function step_NAME unless its stamp is there.
# Beside the function itself, its inputs are FILES (relative to this folder) and
# USES, the helper functions and variables it depends on.
step() {
    local name=$1 files=${2:-} uses=${3:-} start=$EPOCHREALTIME hash
    hash=$( {
        echo "$CHAIN"
        for use in "step_$name" $uses; do declare -f "$use" || declare -p "$use"; done
        cd "$HERE"
        for file in $files; do find "$file" -type f -print0 | sort -z | xargs -0 sha256sum; done
    } | sha256sum | cut -c1-16)
    CHAIN=$hash
    if [ -e "$OUT/stamps/$name-$hash" ]; then
        printf '%-14s up to date\n' "$name"
        return
    fi
    rm -f "$OUT/stamps/$name"-*
    # Not `if step_x; then`, which would switch off `set -e` inside the step.
    # Descriptor 3, because the trap runs while the step's output goes to the log.
    STEP=$name
    trap 'echo "step $STEP failed, last lines of $OUT/logs/$STEP.log:" >&3
          tail -n 15 "$OUT/logs/$STEP.log" >&3' EXIT
    "step_$name" > "$OUT/logs/$name.log" 2>&1
    trap - EXIT
    touch "$OUT/stamps/$name-$hash"
    took "$name" "$start"
}
took() {  # NAME START: print how long it took
    awk -v n="$1" -v a="$2" -v b="$EPOCHREALTIME" 'BEGIN {printf "%-14s %6.1f s\n", n, b - a}'
}

# apt-get/apt-cache with their own lists, cache and architectures.  The host's
# dpkg never hears of arm64, so its apt cannot be confused by a foreign one.
private_apt() {
    local tool=$1
    shift
    "$tool" -q -o Dir::State="$OUT/apt/state" -o Dir::State::status="$OUT/apt/status" \
        -o Dir::Cache="$OUT/apt/cache" -o Dir::Etc::sourcelist=/dev/null \
        -o Dir::Etc::sourceparts="$OUT/apt/sources.list.d" -o Dir::Etc::preferencesparts=/dev/null \
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
        -o APT::Sandbox::User="$(id -un)" -o APT::Update::Post-Invoke-Success= "$@"
}

# fetch ARCH DIR PACKAGES...: download the .debs into DIR, emptied first.
fetch() {
    local arch=$1 dir=$2 package names=()
    shift 2
    for package in "$@"; do
        case $package in
            *:*) names+=("$package") ;;
            *) names+=("$package:$arch") ;;
        esac
    done
    rm -rf "$dir"
    mkdir -p "$dir"
    (cd "$dir" && private_apt apt-get download "${names[@]}")
}

# unpack DIR ROOT: extract every .deb of DIR into ROOT, without running anything.
unpack() {
    local deb
    for deb in "$1"/*.deb; do
        dpkg --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$2"
    done
}

# edit FILE OLD NEW: replace the one occurrence of OLD; fail if there is not exactly one.
edit() {
    python3 - "$@" <<'PY'
import sys
from pathlib import Path

path, old, new = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
text = path.read_text()
if text.count(old) != 1:
    sys.exit(f"{path}: {old!r} occurs {text.count(old)} times, expected once")
path.write_text(text.replace(old, new))
PY
}

# --- steps -------------------------------------------------------------------

step_packages() {
    local missing=() package
    for package in "${HOST_PACKAGES[@]}"; do
        dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' ||
            missing+=("$package")
    done
    if [ ${#missing[@]} = 0 ]; then return; fi
    if [ "$(id -u)" != 0 ]; then
        echo "please install: ${missing[*]}"
        return 1
    fi
    apt-get -q update
    # No recommended packages: they would bring in a graphical qemu.
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
}

step_aptlists() {
    rm -rf "$OUT/apt"
    mkdir -p "$OUT"/apt/{sources.list.d,state/lists/partial,cache/archives/partial}
    touch "$OUT/apt/status"
    python3 "$HERE/apt_sources.py" "$VERSION_CODENAME" > "$OUT/apt/sources.list.d/debian.sources"
    private_apt apt-get update
}

step_debs() {
    local kernel
    fetch amd64 "$OUT/debs/adbd-amd64" "${ADBD_DEBS[@]}"
    fetch arm64 "$OUT/debs/adbd-arm64" "${ADBD_DEBS[@]}"
    fetch arm64 "$OUT/debs/board" "${BOARD_DEBS[@]}"
    # The "cloud" kernel: small, has virtio.  Its name carries the version.
    kernel=$(private_apt apt-cache depends linux-image-cloud-arm64:arm64 |
        sed -n 's/.*Depends: \(linux-image-[^: ]*\).*/\1/p' | head -n 1)
    fetch arm64 "$OUT/debs/kernel" "$kernel"
}

step_source() {
    local adb=system/core/adb
    rm -rf "$OUT/src"
    mkdir -p "$OUT/src"
    cd "$OUT/src"
    private_apt apt-get source --download-only android-platform-tools
    # This also applies Debian's patches (source format 3.0 quilt).
    dpkg-source --no-check -x android-platform-tools_*.dsc tree
    # 360 MB that adbd does not need
    rm -rf android-platform-tools_*.tar.* tree/{art,dalvik,development,external,libnativehelper}
    cd tree
    # Stock adbd listens on every address and on vsock; a host must not offer that.
    edit $adb/socket_spec.cpp $'#else\n        if (hostname.empty()) {' \
        $'#else\n        if (!ADBD_LOOPBACK_ONLY && hostname.empty()) {'
    edit $adb/daemon/main.cpp 'addrs.push_back(android::base::StringPrintf("vsock:%d", port));' ''
    # Children start at -950, so the kernel would kill nearly anything else first.
    edit $adb/daemon/shell_service.cpp 'oom_score_adj_value = "-950"' 'oom_score_adj_value = "0"'
}

build_adbd() {  # ARCH TRIPLET LOOPBACK RPATH TARGETS
    local build=$OUT/build/$1 sysroot=$OUT/sysroot/$1
    rm -rf "$build" "$sysroot"
    mkdir -p "$build" "$sysroot"
    unpack "$OUT/debs/adbd-$1" "$sysroot"
    make -C "$OUT/src/tree" -f "$HERE/adbd.mk" -j "$(nproc)" BUILD="$build" SYSROOT="$sysroot" \
        TRIPLET="$2" LOOPBACK="$3" RPATH="$4" $5
}

step_adbd_host() {
    build_adbd amd64 x86_64-linux-gnu 1 '$$ORIGIN/lib' 'all auth'
    rm -rf "$OUT/host"
    mkdir -p "$OUT/host/lib"
    cp "$OUT"/build/amd64/{adbd,adbd-auth} "$OUT/host/"
    cp "$OUT"/sysroot/amd64/usr/lib/x86_64-linux-gnu/android/lib{base,cutils,log,crypto}.so.0 \
        "$OUT/host/lib/"
}

step_adbd_arm64() {
    build_adbd arm64 aarch64-linux-gnu 0 /usr/lib/aarch64-linux-gnu/android all
    aarch64-linux-gnu-gcc -O0 -static -o "$OUT/build/arm64/memhog" "$HERE/memhog.c"
}

step_keys() {  # throwaway keys, valid for this OUT only
    rm -rf "$OUT/ssh"
    mkdir -m 700 "$OUT/ssh"
    ssh-keygen -q -t ed25519 -N '' -C devicekit-emulated -f "$OUT/ssh/id_ed25519"
    dropbearkey -t ed25519 -f "$OUT/ssh/host_key"
    dropbearkey -y -f "$OUT/ssh/host_key" | grep '^ssh-' | cut -d ' ' -f 1,2 \
        > "$OUT/ssh/host_key.pub"
}

step_kernel() {
    local work=$OUT/build/kernel version initrd=$OUT/build/initrd module
    rm -rf "$work" "$initrd"
    mkdir -p "$work" "$initrd"/{bin,proc,sys,dev,root,modules} "$OUT/vm"
    unpack "$OUT/debs/kernel" "$work"
    version=$(ls "$work/lib/modules")
    cp "$work/boot/vmlinuz-$version" "$OUT/vm/vmlinuz"
    dpkg --fsys-tarfile "$OUT"/debs/board/busybox-static_*.deb |
        tar -x -O ./bin/busybox > "$initrd/bin/busybox"
    cp "$HERE/initrd-init" "$initrd/init"
    chmod 755 "$initrd/bin/busybox" "$initrd/init"
    # depmod and modprobe live in sbin, which an ordinary user may lack in PATH.
    PATH=$PATH:/usr/sbin:/sbin
    depmod -b "$work" "$version"
    for module in virtio_blk virtio_net virtio_pci ext4; do
        modprobe -d "$work" -S "$version" --show-depends "$module"
    done | awk '/^insmod/ && !seen[$2]++ {print $2}' | while read -r module; do
        cp "$module" "$initrd/modules/"
        basename "$module" >> "$initrd/modules/order"
    done
    (cd "$initrd" && find . | cpio -o -H newc -R 0:0 --quiet | gzip -1) > "$OUT/vm/initrd.gz"
    rm -rf "$work"
}

# make_image NAME SIZE DEB_FOLDERS...: disk image from .debs, adbd and image/.
make_image() {
    local root=$OUT/build/root-$1 image=$OUT/vm/$1.ext4 size=$2 dir name
    shift 2
    rm -rf "$root"
    mkdir -p "$root"/usr/{bin,sbin,lib}
    for dir in bin sbin lib; do ln -s "usr/$dir" "$root/$dir"; done
    for dir in "$@"; do unpack "$dir" "$root"; done
    rm -rf "$root"/usr/share/{doc,man,locale,lintian,bug}
    mkdir -p "$root"/{proc,sys,dev,run,tmp,root/.ssh,sdcard,data/local/tmp,data/misc/adb} \
        "$root"/{system/bin,etc/dropbear,var/log}
    for name in "${BUSYBOX_COMMANDS[@]}"; do
        [ -e "$root/bin/$name" ] || ln -s busybox "$root/bin/$name"
    done
    ln -s /bin/sh "$root/system/bin/sh"
    tar -C "$HERE/image" -c . | tar -x --keep-directory-symlink --no-same-owner -C "$root"
    cp "$OUT"/build/arm64/{adbd,memhog} "$root/system/bin/"
    cp "$OUT/ssh/host_key" "$root/etc/dropbear/"
    cp "$OUT/ssh/id_ed25519.pub" "$root/root/.ssh/authorized_keys"
    [ ! -e "$root/usr/bin/python3.11" ] || ln -sf python3.11 "$root/usr/bin/python3"
    chmod 700 "$root/root" "$root/root/.ssh"
    chmod 600 "$root/root/.ssh/authorized_keys" "$root/etc/dropbear/host_key"
    chmod 1777 "$root/tmp" "$root/data/local/tmp"
    rm -f "$image"
    PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -E root_owner=0:0 -d "$root" -L root \
        "$image" "$size"
    rm -rf "$root"
}

step_image() {
    make_image board 160M "$OUT/debs/board"
}

step_image_python() {
    fetch arm64 "$OUT/debs/python" "${PYTHON_DEBS[@]}"
    make_image python 640M "$OUT/debs/board" "$OUT/debs/python"
}

TOTAL=$EPOCHREALTIME
step packages "" HOST_PACKAGES
step aptlists apt_sources.py private_apt
step debs "" "fetch private_apt ADBD_DEBS BOARD_DEBS"
step source "" "private_apt edit"
step adbd_host adbd.mk "build_adbd unpack"
step adbd_arm64 "adbd.mk memhog.c" "build_adbd unpack"
step keys
step kernel initrd-init unpack
step image image "make_image unpack BUSYBOX_COMMANDS"
if [ -n "$WITH_PYTHON" ]; then
    step image_python image "fetch private_apt make_image unpack PYTHON_DEBS BUSYBOX_COMMANDS"
fi
took total "$TOTAL"
du -sh "$OUT" | sed 's/^/size of /'
