package cli

import (
	"fmt"
	"slices"

	"github.com/alecthomas/kingpin/v2"
)

// completions are the scripts, by shell. Each asks the program itself. It passes the words before
// the one being typed, and that one only if it is a flag: kingpin would take the beginning of a
// command's name for an argument of the default command.
var completions = map[string]string{
	"bash": `_akubra() {
    local cur="${COMP_WORDS[COMP_CWORD]}"
    local words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
    [[ $cur == -* ]] && words+=("$cur")
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" --completion-bash "${words[@]}")" -- "$cur"))
}
complete -o default -F _akubra akubra
`,
	"zsh": `#compdef akubra
_akubra() {
    local before=("${(@)words[2,CURRENT-1]}")
    [[ $words[CURRENT] == -* ]] && before+=("$words[CURRENT]")
    local matches=(${(f)"$(${words[1]} --completion-bash $before)"})
    compadd -a matches || _files
}
if [[ $funcstack[1] == _akubra ]]; then # it is a file of fpath, loaded at the first Tab
    _akubra "$@"
else
    compdef _akubra akubra
fi
`,
	"fish": `function __akubra_complete
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    string match -q -- '-*' $cur; and set -a words $cur
    akubra --completion-bash $words[2..-1]
end
complete -c akubra -f -a '(__akubra_complete)'
complete -c akubra -s c -l conf -r -F
`,
}

func completionCommand(app *kingpin.Application) (*kingpin.CmdClause, *string) {
	cmd := app.Command("completion", "Print a script for a shell that completes commands and flags, as in: source <(akubra completion bash).")
	var shells []string
	for shell := range completions {
		shells = append(shells, shell)
	}
	slices.Sort(shells)
	return cmd, cmd.Arg("shell", "bash, zsh or fish.").Required().HintOptions(shells...).Enum(shells...)
}

func (c *cli) completion(shell string) int {
	fmt.Fprint(c.stdout, completions[shell])
	return exitOK
}
