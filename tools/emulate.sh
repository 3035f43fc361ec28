#!/usr/bin/env bash
# Runs the program and its tests on CPUs that this machine does not have, under QEMU (Debian 12: qemu-user-static).
#
#     tools/emulate.sh x86      the release program on an x86-64 without AVX and on one with AVX2
#     tools/emulate.sh arm      the tests of kernels and logits on AArch64, at each of its levels
#     tools/emulate.sh avx512   the tests of kernels on a Tiger Lake (Bochs)
#
# x86: one program serves all, so nothing that needs more than the first x86-64 may run before the level is chosen. QEMU
# ends a program at the first instruction that its CPU lacks. Texts and files must be those of this machine, byte for byte.
#
# arm: needs Debian's own Rust, since rustup's has no library for AArch64 unless it is added:
#     dpkg --add-architecture arm64 && apt-get update
#     apt-get install -y --no-install-recommends rustc-web cargo-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu \
#         libc6-dev-arm64-cross qemu-user-static
# PROPTEST_CASES (default 16) says how often laws are tried that do not say it themselves: QEMU is slow.
#
# avx512: QEMU has no AVX-512, Bochs has:
#     apt-get install -y --no-install-recommends bochs bochsbios vgabios linux-image-amd64 busybox-static cpio isolinux \
#         syslinux-common xorriso
# It boots a Linux whose initial file system holds the tests, at some twenty million instructions a second: minutes with
# TESTS= (isa alone) and FILTER=lookups, an hour or more with all of isa, ops and matmul.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What the program makes of the same inputs, in the folder $1, when it is started by the rest of the arguments.
results() {
    local out=$1 start=("${@:2}")
    mkdir -p "$out"
    "${start[@]}" run -p "Once upon a time" --temp 0 -n 40 > "$out/story"
    "${start[@]}" run -p "Once upon a time" --seed 1 -n 40 --kv-type q8_0 > "$out/sampled"
    printf 'Tell me about a fox.\nAnd then?\n' | "${start[@]}" chat --template v1 --temp 0 -n 24 > "$out/chat"
    "${start[@]}" quantize fixtures/tiny-mistral "$out/q4_k.gguf" --type Q4_K_M > /dev/null
    "${start[@]}" quantize fixtures/random/mixtral-window-7 "$out/iq4_nl.gguf" --type IQ4_NL > /dev/null
    "${start[@]}" logits "$out/iq4_nl.gguf" --tokens 1,2,3,4,5,6,7,8,9,10 -o "$out/logits" > /dev/null
    local file
    for file in "$out"/*; do
        [ -s "$file" ] || { echo "nothing in $file"; exit 1; }
    done
}

# The levels that the program finds, by the error for a level that there is not.
levels() {
    { "$@" run --isa none -p x 2>&1 || true; } | sed -n 's/.*this machine has: //p'
}

x86() {
    cargo build --release --workspace --locked
    local bise=target/release/bise cpu expected found
    results "$work/native" "$bise"
    echo "this machine: $(levels "$bise")"
    while read -r cpu expected; do
        found=$(levels qemu-x86_64-static -cpu "$cpu" "$bise")
        [ "$found" = "$expected" ] || { echo "$cpu: levels $found, expected $expected"; exit 1; }
        results "$work/$cpu" qemu-x86_64-static -cpu "$cpu" "$bise" 2> "$work/errors" || { cat "$work/errors"; exit 1; }
        diff -r "$work/native" "$work/$cpu"
        echo "$cpu: $found; the same bytes"
    done <<'CPUS'
qemu64 scalar
Haswell scalar, avx2
CPUS
}

arm() {
    export RUSTC=/usr/bin/rustc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    # Programs that load libraries hang at their first thread under this QEMU.
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
    local cargo=(/usr/bin/cargo test --quiet --target aarch64-unknown-linux-gnu --target-dir target/aarch64)
    cargo+=(-p bise-tensor -p bise-model --test isa --test matmul --test ops --test one_result --test session)
    local cpu expected found
    # A CPU of ARMv8.0, one with products of bytes, one with products of matrices of bytes.
    while read -r cpu expected; do
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu $cpu"
        found=$("${cargo[@]}" levels_have_names -- --nocapture < /dev/null | grep -xE 'scalar|neon|dotprod|i8mm' | paste -sd' ')
        [ "$found" = "$expected" ] || { echo "$cpu: levels $found, expected $expected"; exit 1; }
        echo "== $cpu: $found"
        PROPTEST_CASES=${PROPTEST_CASES:-16} "${cargo[@]}" < /dev/null
    done <<'CPUS'
cortex-a53 scalar neon
neoverse-n1 scalar neon dotprod
max scalar neon dotprod i8mm
CPUS
}

# A Linux that runs the tests and prints to its serial port, as $work/boot.iso.
boot_image() {
    local root=$work/root iso=$work/iso test program library
    mkdir -p "$root"/{bin,proc,sys,dev,tmp,lib64} "$iso"
    cp /bin/busybox "$root/bin/"
    for test in $tests; do
        program=$(cargo test --workspace --no-run --message-format=json --test "$test" 2> "$work/errors" |
            sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
        cp "$program" "$root/bin/$test"
        strip "$root/bin/$test"
        for library in $(ldd "$program" | grep -o '/[^ ]*'); do
            mkdir -p "$root$(dirname "$library")"
            cp -L "$library" "$root$library"
        done
    done
    cat > "$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
export PROPTEST_CASES=${PROPTEST_CASES:-16} RUST_BACKTRACE=0
/bin/busybox echo "== booted"
/bin/isa --test-threads=1 --nocapture levels_have_names
for test in $tests; do
    echo "== \$test"
    /bin/\$test --test-threads=1 $filter || echo "FAILED \$test"
done
echo "== done"
/bin/busybox poweroff -f
INIT
    chmod +x "$root/init"
    (cd "$root" && find . | cpio -o -H newc --quiet) > "$iso/initrd"
    cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$iso/"
    cp "$(ls /boot/vmlinuz-*-amd64 | tail -n 1)" "$iso/linux"
    cat > "$iso/isolinux.cfg" <<'BOOT'
default linux
label linux
    kernel linux
    append initrd=initrd console=ttyS0 quiet mitigations=off nokaslr tsc=unstable lpj=1000000 random.trust_cpu=on panic=1
BOOT
    xorriso -as mkisofs -quiet -o "$work/boot.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
        -boot-info-table "$iso" 2> /dev/null
}

avx512() {
    local tests="isa ${TESTS-ops matmul}" filter=${FILTER:-}
    boot_image
    # Debian's Bochs writes past a buffer when it mixes sound, so there is none.
    cat > "$work/bochsrc" <<BOCHS
config_interface: textconfig
display_library: rfb, options="timeout=0"
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
cpu: model=tigerlake, count=1, ips=50000000, reset_on_triple_fault=0
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/console
clock: sync=none, time0=utc
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1, gameport=0
speaker: enabled=0
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
log: $work/log
panic: action=fatal
error: action=ignore
info: action=ignore
BOCHS
    # The one command that its debugger is given.
    echo continue > "$work/commands"
    : > "$work/console"
    tail -f "$work/console" &
    bochs -f "$work/bochsrc" -rc "$work/commands" > "$work/screen" 2>&1 < /dev/null || true
    sleep 1
    kill %1
    grep -q '^avx512vl' "$work/console" || { tail -n 20 "$work/screen"; echo "no AVX-512 in the emulator"; exit 1; }
    grep -q '^== done' "$work/console" && ! grep -q FAILED "$work/console"
}

case ${1:-} in
    x86) x86 ;;
    arm) arm ;;
    avx512) avx512 ;;
    *)
        sed -n '4,6s/^# *//p' "$0"
        exit 2
        ;;
esac
