# Sourced by demo.sh and test.sh: installs what is missing (Debian 12 or later) and builds.

packages=(build-essential cmake ninja-build pkg-config zlib1g-dev libjpeg62-turbo-dev libpng-dev libwebp-dev
          libtiff-dev libgif-dev libavif-dev libarchive-dev libyaml-dev libjansson-dev libutf8proc-dev nettle-dev
          libopenblas-dev liblapacke-dev libcmocka-dev libfreetype-dev libfontconfig-dev libharfbuzz-dev fonts-dejavu-core fonts-noto-color-emoji unicode-data)

install_missing_packages() {
    local missing=() package sudo=()
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "== installing: ${missing[*]}"
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# build FOLDER [cmake options]
build() {
    local folder=$1
    shift
    echo "== building in $folder"
    cmake -S . -B "$folder" -G Ninja "$@" >"$folder.log" 2>&1 || { cat "$folder.log"; return 1; }
    ninja -C "$folder" >>"$folder.log" 2>&1 || { tail -n 60 "$folder.log"; return 1; }
}
