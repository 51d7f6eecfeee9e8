#!/bin/bash
# Installs the wheel into a fresh environment and draws with it there; no library but the system's own may come from outside
# of it: check_wheel.sh WHEEL [PYTHON]
set -euo pipefail
wheel=$(readlink -f "$1")
python=${2:-python3}
base=$(readlink -f "$(dirname "$0")/../demo/base.safetensors")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install --no-index "$wheel"
cd "$work"
venv/bin/difftune --version
venv/bin/difftune sample --pretrained-model "$base" --output-dir samples --num-samples 2 --num-inference-steps 2 \
    --clip-sample
test -s samples/grid.png
test -s venv/share/man/man1/difftune.1
if ldd venv/lib/python*/site-packages/difftune/difftune |
    grep -v -E "$work|linux-vdso|ld-linux|/(libc|libm|libz|libgcc_s|libstdc\+\+)\.so"; then
    echo "these libraries are not in the wheel"
    exit 1
fi
echo "the wheel installs and works"
