#!/usr/bin/env bash
# Relative links of the documents lead to files that are there and to headings in them, and source files that a document
# names in backquotes exist: check_links.sh ROOT
set -euo pipefail
cd "$1"
failures=0

fail() {
    echo "$1: $2"
    failures=$((failures + 1))
}

# The names that GitHub gives the headings of a file: lower case, no punctuation, hyphens for spaces.
anchors() {
    awk '/^```/ { code = !code } !code && /^#+ /' "$1" |
        sed -E 's/^#+ //; s/.*/\L&/; s/[^a-z0-9 _-]//g; s/ /-/g'
}

check_link() { # FILE LINK
    local path=${2%%#*} anchor=${2#"${2%%#*}"} target
    target=$1
    [ -z "$path" ] || target=$(dirname "$1")/$path
    if [ ! -e "$target" ]; then
        fail "$1" "link to $2: no such file"
    elif [ -n "$anchor" ] && ! anchors "$target" | grep -qxF -- "${anchor#\#}"; then
        fail "$1" "link to $2: no such heading"
    fi
}

documents=$(find . \( -name 'build*' -o -name shared -o -name '.?*' -o -name out \) -prune -o -name '*.md' -print | sort)
[ "$(wc -l <<<"$documents")" -ge 10 ] || fail "$1" "documents are missing"
for file in $documents; do
    while read -r link; do
        check_link "$file" "$link"
    done < <(awk '/^```/ { code = !code } !code' "$file" | grep -oP '\]\(\K[^)]+' | grep -vE '^[a-z]+:' || true)
    while read -r path; do
        [ -e "$path" ] || fail "$file" "$path: no such file"
    done < <(grep -oP '`\K(bench|cmake|docs|include|recipes|src|tests|tools)/[A-Za-z0-9_./-]*(?=`)' "$file" || true)
done
[ "$failures" = 0 ]
