#!/usr/bin/env bash
# Builds and runs every test: once as shipped, once under AddressSanitizer and UndefinedBehaviorSanitizer.
# Data in ../shared is used where it is there; tests that need it say skipped where not.
set -euo pipefail
cd "$(dirname "$0")"
source ./setup.sh

packages+=(libopenmpi-dev openmpi-bin locales) # for tests of several ranks and of other locales; the program needs none
install_missing_packages
# Threads that wait spin by default, which costs dearly where tests share the cores.
export OMP_WAIT_POLICY=passive

build build-test -DDT_WERROR=ON -DDT_MPI=ON
(cd build-test && ctest -j2 --output-on-failure)

build build-sanitize -DDT_WERROR=ON -DDT_SANITIZE=ON
(cd build-sanitize && ctest -j2 --output-on-failure)
