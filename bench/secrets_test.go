package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR37NoSecretInResults: neither in the JSON nor on the page, however it was given.
func TestR37NoSecretInResults(t *testing.T) {
	target := []string{"-target", "http://127.0.0.1:1", "-access-key", "AKID"}
	for name, c := range map[string]struct{ env, args []string }{
		"two arguments":      {nil, []string{"-secret-key", "hush"}},
		"two dashes":         {nil, []string{"--secret-key", "hush"}},
		"one argument":       {nil, []string{"-secret-key=hush"}},
		"the same, two":      {nil, []string{"--secret-key=hush"}},
		"given twice":        {nil, []string{"-secret-key", "hush-1", "-secret-key=hush-2", "--secret-key", "hush-3"}},
		"with an =":          {nil, []string{"-secret-key", "a=hush="}},
		"environment":        {[]string{"AWS_SECRET_ACCESS_KEY", "hush"}, nil},
		"elsewhere, as well": {[]string{"AWS_SECRET_ACCESS_KEY", "hush"}, []string{"-bucket", "my-hush-bucket"}},
		"the proxy's":        {nil, []string{"-secret-key", "x1y2", "-config", "Credentials: {AccessKey: a, SecretKey: hush, Region: r}"}},
		"the proxy's, too":   {nil, []string{"-secret-key", "x1y2", "-config=BackendCredentials: [{\"SecretKey\": 'hush, hush'}]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("AWS_SECRET_ACCESS_KEY", "")
			if c.env != nil {
				t.Setenv(c.env[0], c.env[1])
			}
			args := append(append([]string{}, target...), c.args...)
			o, err := parseOptions(args)
			testkit.MustDo(t, err)
			rs := newResults(o, args)
			path := filepath.Join(t.TempDir(), "r.json")
			testkit.MustDo(t, rs.write(path))
			text, err := os.ReadFile(path)
			testkit.MustDo(t, err)
			var page bytes.Buffer
			testkit.MustDo(t, writeReport(&page, rs))
			for _, shown := range []string{string(text), page.String()} {
				if strings.Contains(shown, "hush") || !strings.Contains(shown, "AKID") || !strings.Contains(shown, "127.0.0.1:1") {
					t.Errorf("it shows %s", shown)
				}
			}
		})
	}

	// Results of a version that wrote it down.
	path := filepath.Join(t.TempDir(), "old.json")
	old, err := json.Marshal(&Results{Schema: resultSchema, Command: append(target, "-secret-key", "hush", "--secret-key=hush")})
	testkit.MustDo(t, err)
	testkit.MustDo(t, os.WriteFile(path, old, 0o600))
	if rs, err := readResults(path); err != nil || strings.Contains(strings.Join(rs.Command, " "), "hush") {
		t.Errorf("%v, %v", rs, err)
	}
}

func TestR37NoSecretInErrors(t *testing.T) {
	for _, args := range [][]string{
		{"-target", "http://user:hush@127.0.0.1:1", "-access-key", "a", "-secret-key", "b"},
		{"-target", "ftp://user:hush@127.0.0.1:1"},
		{"---secret-key=hush"},
		{"secret-key=hush"},
		{"-secretkey=hush"},
		{"-secret-key", "hush", "-rounds", "none"},
		{"-secret-key", "hush", "-scenario", "none"},
	} {
		_, err := parseOptions(args)
		if err == nil || errors.Is(err, flag.ErrHelp) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", args, err)
		}
	}
}
