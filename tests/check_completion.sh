#!/bin/bash
# The completion for bash, asked as bash asks it, agrees with the help; that for zsh is one that zsh can read and, where
# zsh is there, answers. usage: check_completion.sh PROGRAM
set -u
program=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0

fail() {
    echo "$*" >&2
    failures=$((failures + 1))
}

source <("$program" completion bash)

# The answers to a command line whose last word is being typed, in order, with blanks between.
ask() {
    COMP_WORDS=(difftune "$@")
    COMP_CWORD=$#
    COMPREPLY=()
    _difftune
    echo "${COMPREPLY[*]}"
}

expect() {
    local wanted=$1
    shift
    local got
    got=$(ask "$@")
    [[ $got == "$wanted" ]] || fail "difftune $*: '$got', not '$wanted'"
}

# Flags of a verb's help: --threads, and both --random-flip and --no-random-flip for --[no-]random-flip.
flags_of_help() {
    "$program" "$1" --help | sed -n -E -e 's/^  --\[no-\]([a-z0-9-]+).*/--\1\n--no-\1/p' -e 's/^  (--[a-z0-9-]+).*/\1/p' | sort
}

verbs=$("$program" help | sed -n -E '/^Example/q; s/^  ([a-z]+) .*/\1/p' | sort)
[[ $(wc -w <<<"$verbs") -gt 5 ]] || fail "help lists these verbs only: $verbs"
for verb in $verbs; do
    [[ $(ask "$verb" --) == --* ]] || fail "nothing for $verb"
    offered=$(ask "$verb" -- | tr ' ' '\n' | grep -v -x -e --help -e --config | sort)
    [[ $offered == "$(flags_of_help "$verb")" ]] || fail "$verb: completion and help have other flags"
done
[[ $(ask "" | tr ' ' '\n' | grep -v -x -E -e 'completion|help|--.*' | sort) == "$verbs" ]] ||
    fail "the first word is completed to other verbs than help has"

expect "cpu cuda" train --device ""
expect "cuda" train --device cu
expect "diff-tuning finetune pretrain" train --method = ""
expect "finetune" train --method = f
expect "diff-tuning finetune pretrain" train --method =
expect "true false" train --random-flip =
expect "--no-random-flip" train --no-ra
expect "--device" train --random-flip --dev
expect "" train --max-train-steps ""
expect "bash zsh" completion ""
expect "prepare" data ""
[[ $(ask data prepare "") == *food101* ]] || fail "data prepare does not offer the published sets"

# Paths: with blanks in them, folders alone where only those fit.
cd "$folder" || exit 1
mkdir "my images"
: >model.safetensors
COMP_WORDS=(difftune train --train-data my)
COMP_CWORD=3
_difftune
[[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == "my images" ]] || fail "a folder with a blank: ${COMPREPLY[*]}"
expect "model.safetensors" train --pretrained-model mod
expect "" train --output-dir mod
expect "model.safetensors" inspect mod

"$program" completion zsh >_difftune
[[ $(head -n 1 _difftune) == "#compdef difftune" ]] || fail "zsh: the first line names no command"
"$program" completion fish 2>/dev/null && fail "completion for a shell that is not known"
if command -v zsh >/dev/null; then
    zsh -n _difftune || fail "zsh cannot read its completion"
    zsh -f -c 'zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "PS1=; fpath=($PWD \$fpath); autoload -U compinit; compinit -u -D"
        zpty -n -w shell "difftune train --device=cu"$'"'\t'"'
        zpty -n -w shell "; print \$((40 + 2))"$'"'\n'"'
        zpty -r -m shell answer "*42*"
        print -r -- "$answer"' >answer 2>&1
    grep -q "device=cuda" answer || fail "zsh does not complete --device=cu: $(cat answer)"
fi
exit $((failures > 0))
