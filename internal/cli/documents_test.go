package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/testkit"
)

// documents are those for users and operators, by their paths from the root.
var documents = []string{"README.md", "docs/CONFIGURATION.md", "docs/OPERATIONS.md", "docs/REPAIR.md"}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	return testkit.MustReadFile(t, filepath.Join("..", "..", name))
}

var (
	helpLine    = regexp.MustCompile(`(?m)^([a-z]+(?: [a-z]+)*)\*?(?: [[<].*)?$`)
	commandLine = regexp.MustCompile("(?m)(?:\\./|\\$ |`)akubra ([^`\n#]+)")
	flagName    = regexp.MustCompile(`--[a-z-]+`)
	codeRow     = regexp.MustCompile(`(?m)^\| (\d+) \|`)
	quotedKey   = regexp.MustCompile("`([A-Z][A-Za-z]+(?:\\.[A-Z][A-Za-z]+)*)(?::[^`]*)?`")
)

// TestDocumentsNameCommands: each command and flag that a document names exists, and each command
// that exists is named.
func TestDocumentsNameCommands(t *testing.T) {
	_, help, _ := runArgs("--help")
	_, help, _ = strings.Cut(help, "\nCommands:\n")
	flags := map[string]string{"": ""} // a command's help
	for _, m := range helpLine.FindAllStringSubmatch(help, -1) {
		if m[1] != "help" {
			_, flags[m[1]], _ = runArgs(append(strings.Fields(m[1]), "--help")...)
		}
	}
	if len(flags) < 15 {
		t.Fatalf("only %d commands found in %s", len(flags), help)
	}
	_, flags[""], _ = runArgs("--help")
	for command, usage := range flags {
		if strings.Contains(usage, "[no-]") || strings.Contains(usage, "help-long") {
			t.Errorf("the help of %q has what nobody can use:\n%s", command, usage)
		}
	}
	named := map[string]bool{"serve": true} // is what happens without a command
	for _, name := range documents {
		for _, m := range commandLine.FindAllStringSubmatch(readDocument(t, name), -1) {
			words := strings.Fields(strings.Replace(m[1], "synclog", "journal", 1)) // the old name
			command := ""
			for n := min(2, len(words)); n > 0 && command == ""; n-- {
				if _, ok := flags[strings.Join(words[:n], " ")]; ok {
					command = strings.Join(words[:n], " ")
				}
			}
			group := len(words) == 1 && strings.Contains(help, "\n"+words[0]+" ")
			if command == "" && !strings.HasPrefix(m[1], "-") && !group {
				t.Errorf("%s names %q, which is no command", name, "akubra "+m[1])
			}
			named[command] = true
			for _, flag := range flagName.FindAllString(m[1], -1) {
				if !strings.Contains(strings.ReplaceAll(flags[command], "[no-]", ""), flag) {
					t.Errorf("%s names %q: %q has no flag %s", name, "akubra "+m[1], command, flag)
				}
			}
		}
	}
	for command := range flags {
		if !named[command] {
			t.Errorf("no document names akubra %s", command)
		}
	}
}

// TestDocumentsNameExitCodes: OPERATIONS.md and the manual page have those that there are.
func TestDocumentsNameExitCodes(t *testing.T) {
	want := []string{fmt.Sprint(exitOK), fmt.Sprint(exitFailed), fmt.Sprint(exitWrong), fmt.Sprint(exitUsage)}
	_, section, _ := strings.Cut(readDocument(t, "docs/OPERATIONS.md"), "\n## Exit codes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var got []string
	for _, m := range codeRow.FindAllStringSubmatch(section, -1) {
		got = append(got, m[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/OPERATIONS.md has the exit codes %q, want %q", got, want)
	}
	_, section, _ = strings.Cut(readDocument(t, "docs/akubra.1"), ".SH EXIT STATUS\n")
	section, _, _ = strings.Cut(section, "\n.SH ")
	got = nil
	for _, m := range regexp.MustCompile(`(?m)^\.B (\d+)$`).FindAllStringSubmatch(section, -1) {
		got = append(got, m[1])
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/akubra.1 has the exit codes %q, want %q", got, want)
	}
	// No other number is an exit code of the code's.
	found := 0
	files, err := filepath.Glob("*.go")
	testkit.MustDo(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		testkit.MustDo(t, err)
		for _, m := range regexp.MustCompile(`(?m)^\t(exit\w+) +=? *(\d+)`).FindAllStringSubmatch(string(text), -1) {
			if found++; !slices.Contains(want, m[2]) {
				t.Errorf("%s: %s is %s, which no document has", file, m[1], m[2])
			}
		}
	}
	if found != len(want) {
		t.Errorf("%d exit codes found in the code, want %d", found, len(want))
	}
}

// TestDocumentsNameKeys: what looks like a key of the configuration is one. (That each key is in
// CONFIGURATION.md, TestEveryKeyIsEverywhere holds.)
func TestDocumentsNameKeys(t *testing.T) {
	known := map[string]bool{}
	for _, path := range config.Paths() {
		levels := strings.Split(path, ".")
		for from := range levels { // also without the levels above
			for to := from + 1; to <= len(levels); to++ {
				known[strings.Join(levels[from:to], ".")] = true
			}
		}
	}
	for _, word := range []string{
		"ETag", "Range", "Size", "LastModifiedTime", "Host", "Expect", "Connection", "Authorization", // of S3 and HTTP
		"SIGHUP", "SIGTERM", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "LimitNOFILE", "FileDescriptorName", // of systemd and Go
		"PATTERN", "DELETE", "POST", "GET", "PUT", "HEAD", "OPTIONS", "OWES", "FILE", "MiB", "GiB", "TiB",
		"XAdminUserNotFound", "PermanentRedirect", "AuthorizationHeaderMalformed", "MethodNotAllowed", // in error documents
		"Suspended", "Off", // of versioning
		"Backend", // of BackendCredentials and BackendTLS
	} {
		known[word] = true
	}
	found := 0
	for _, name := range documents {
		for _, m := range quotedKey.FindAllStringSubmatch(readDocument(t, name), -1) {
			if found++; !known[m[1]] {
				t.Errorf("%s names `%s`, which is no key (what else is written so stands in a list of this test)", name, m[1])
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d keys found: this test looks at the wrong ones", found)
	}
}
