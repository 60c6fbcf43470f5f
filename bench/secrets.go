package main

import (
	"regexp"
	"strings"
)

// hidden stands where a secret was.
const hidden = "***"

// hideSecrets is a command line without what readers of the results must not see (R37): -secret-key's
// value, however it is written; secret itself, anywhere; passwords in URLs; and the keys in a proxy's
// configuration.
func hideSecrets(args []string, secret string) []string {
	shown := make([]string, len(args))
	next := false // the argument is the flag's value
	for i, arg := range args {
		name, _, given := strings.Cut(arg, "=")
		dashes := len(name) - len(strings.TrimLeft(name, "-"))
		isFlag := name[dashes:] == "secret-key" && (dashes == 1 || dashes == 2)
		switch {
		case next:
			arg = hidden
		case isFlag && given:
			arg = name + "=" + hidden
		default:
			arg = hideSecret(arg)
		}
		next = !next && isFlag && !given
		if secret != "" {
			arg = strings.ReplaceAll(arg, secret, hidden)
		}
		shown[i] = arg
	}
	return shown
}

// hideSecret is text without what can be recognized as a secret.
func hideSecret(text string) string {
	text = flagSecret.ReplaceAllString(text, "${1}"+hidden)
	text = configSecret.ReplaceAllString(text, "${1}"+hidden)
	return urlPassword.ReplaceAllString(text, "${1}"+hidden+"@")
}

var (
	flagSecret = regexp.MustCompile(`(?i)(secret-?key=).*`)
	// configSecret is as in -config 'Credentials: {SecretKey: …}'.
	configSecret = regexp.MustCompile(`(?i)(secret_?key["']?\s*:\s*)("[^"]*"|'[^']*'|[^\s,}]+)`)
	urlPassword  = regexp.MustCompile(`(://)[^/?#]*@`)
)
