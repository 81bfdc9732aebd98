"""The grammar as a completion script for bash 4.4 and newer; needs nothing else, bash-completion neither.

What is typed is never expanded nor run. Names of files come from the shell's own patterns, so that any byte that a name
may hold survives; readline quotes them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from batchctl.cli.grammar import SPEC_SUFFIXES, CommandLine, Option, Wants

_SCRIPT = r"""# bash completion for batchctl; made by `batchctl completion bash`

# REPLY: $1 as the shell would read it, without running or expanding anything in it
__batchctl_dequote() {
    local text=$1 quote='' char i
    REPLY=''
    for ((i = 0; i < ${#text}; i++)); do
        char=${text:i:1}
        if [[ $quote == \' ]]; then
            if [[ $char == \' ]]; then quote=''; else REPLY+=$char; fi
        elif [[ $char == \\ && ( -z $quote || ${text:i+1:1} == [\"\\\$\`] ) ]]; then
            i=$((i + 1))
            REPLY+=${text:i:1}
        elif [[ $quote == \" ]]; then
            if [[ $char == \" ]]; then quote=''; else REPLY+=$char; fi
        elif [[ $char == [\'\"] ]]; then
            quote=$char
        else
            REPLY+=$char
        fi
    done
}

# The paths that begin with $2, each ended by NUL; $1 is folder, spec or path
__batchctl_paths() (
    set +f
    unset GLOBIGNORE
    shopt -s nullglob
    shopt -u failglob dotglob nocaseglob
    found=()
    for name in "$2"*; do
        case $1:$name in
            *:. | *:.. | */. | */..) continue ;;
            path:* | @SPECS@) ;;
            *) [[ -d $name ]] || continue ;;
        esac
        found+=("$name")
    done
    (( ${#found[@]} )) && printf '%s\0' "${found[@]}"
)

# COMPREPLY: what fits $2, the beginning of a word as it is typed; $1 is what is wanted, $3 what it may be
__batchctl_offer() {
    local home='' before='' found=()
    __batchctl_dequote "$2"
    local value=$REPLY
    case $1 in
        text) return ;;
        choice)
            local word
            for word in $3; do
                [[ $word == "$value"* ]] && COMPREPLY+=("$before$word")
            done
            return
            ;;
        input)
            if [[ $value == @* ]]; then before=@ value=${value#@}; fi
            set -- path "$2"
            ;;
    esac
    if [[ $2 == '~/'* && -n $HOME ]]; then home=$HOME value=$HOME${value#'~'}; fi
    mapfile -d '' -t found < <(__batchctl_paths "$1" "$value")
    if (( ${#found[@]} == 0 )); then
        # A variable in the path is the shell's own business.
        [[ $2 == *\$* ]] && compopt -o default 2> /dev/null
        return
    fi
    if [[ -n $home ]]; then found=("${found[@]/#"$home"/"~"}"); fi
    COMPREPLY=("${found[@]/#/"$before"}")
    compopt -o filenames 2> /dev/null
}

_batchctl() {
    COMPREPLY=()
    # Readline also breaks words at = : and @; what has no blank between is put together again.
    local rest=$COMP_LINE word i words=() last=-1
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $i == 0 || $rest == [[:space:]]* || -z ${COMP_WORDS[i - 1]} ]]; then
            rest=${rest#"${rest%%[![:space:]]*}"}
            last=$((last + 1))
            words[last]=''
        fi
        rest=${rest#"$word"}
        words[last]+=$word
    done
    # Readline replaces $2 alone, so what stands before it in the word must not be repeated.
    local cur=${words[last]}
    __batchctl_dequote "${cur%"$2"}"
    local head=$REPLY
    if (( last < 2 )); then
        if [[ $cur == -* ]]; then word='--help --version'; else word='@COMMANDS@ help'; fi
        __batchctl_offer choice "$cur" "$word"
        return
    fi
    local command=${words[1]} flags='' valued='' option='' operand=0 dashes='' wanted=text values='' value=$cur
    case $command in
@TABLE@
        help) [[ $last == 2 ]] && __batchctl_offer choice "$cur" '@COMMANDS@'; return ;;
        *) return ;;
    esac
    for ((i = 2; i < last; i++)); do
        word=${words[i]}
        if [[ -n $option ]]; then option=''
        elif [[ $word == *[\<\>] ]]; then option='>'
        elif [[ $word == *[\<\>]* ]]; then :
        elif [[ -n $dashes ]]; then operand=$((operand + 1))
        elif [[ $word == -- ]]; then dashes=1
        elif [[ " $valued " == *" $word "* ]]; then option=$word
        elif [[ $word != -?* ]]; then operand=$((operand + 1))
        fi
    done
    if [[ -z $option && $cur == *[\<\>]* ]]; then
        option='>' value=${cur##*[\<\>]}
    elif [[ -z $option && -z $dashes && $cur == --*=* ]]; then
        option=${cur%%=*} value=${cur#*=}
    elif [[ -z $option && -z $dashes && $cur == -* ]]; then
        __batchctl_offer choice "$cur" "$flags"
        return
    fi
    if [[ $option == '>' ]]; then
        wanted=path
    elif [[ -n $option ]]; then
        case "$command $option" in
@OPTIONS@
            *) return ;;
        esac
    else
        case "$command $operand" in
@OPERANDS@
            *) return ;;
        esac
    fi
    __batchctl_offer "$wanted" "$value" "$values"
    __batchctl_dequote "${cur%"$value"}"
    if (( ${#COMPREPLY[@]} )); then
        COMPREPLY=("${COMPREPLY[@]/#/"$REPLY"}")
        COMPREPLY=("${COMPREPLY[@]#"$head"}")
    fi
}

complete -F _batchctl batchctl
"""


def script(commands: Sequence[CommandLine]) -> str:
    """The text of the script, for `source` or for a folder that bash-completion looks into."""
    table, options, operands = [], [], []
    for command in commands:
        flags = " ".join(name for option in command.options for name in option.names)
        valued = " ".join(name for option in command.options if option.metavar for name in option.names)
        table.append(f"        {command.name}) flags={shlex.quote(flags)} valued={shlex.quote(valued)} ;;")
        options += [_option(command.name, option) for option in command.options if option.metavar]
        for number, operand in enumerate(command.operands):
            case = f"{shlex.quote(f'{command.name} ')}{'*' if operand.many else number}"
            operands.append(f"            {case}) {_wanted(operand.wants, operand.values)} ;;")
    return (
        _SCRIPT.replace("@SPECS@", " | ".join(f"spec:*.{suffix}" for suffix in SPEC_SUFFIXES))
        .replace("@COMMANDS@", " ".join(command.name for command in commands))
        .replace("@TABLE@", "\n".join(table))
        .replace("@OPTIONS@", "\n".join(options))
        .replace("@OPERANDS@", "\n".join(operands))
    )


def _option(command: str, option: Option) -> str:
    case = " | ".join(shlex.quote(f"{command} {name}") for name in option.names)
    return f"            {case}) {_wanted(option.wants, option.values)} ;;"


def _wanted(wants: Wants, values: Sequence[str]) -> str:
    return f"wanted={wants} values={shlex.quote(' '.join(values))}"
