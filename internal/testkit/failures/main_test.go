package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// run is what a test binary says of itself, as go test -json gives it on.
func run(lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	return b.String()
}

func TestTell(t *testing.T) {
	start := `{"Action":"start","Package":"p"}`
	passes := `{"Action":"pass","Package":"p"}`
	fails := run(`{"Action":"output","Package":"p","Output":"FAIL\n"}`, `{"Action":"fail","Package":"p"}`)
	begun := func(test string) string {
		return run(`{"Action":"run","Package":"p","Test":"`+test+`"}`, `{"Action":"output","Package":"p","Test":"`+test+`","Output":"=== RUN   `+test+`\n"}`)
	}
	says := func(test, text string) string {
		return run(`{"Action":"output","Package":"p","Test":"` + test + `","Output":"` + text + `\n"}`)
	}
	ends := func(action, test string) string {
		return run(`{"Action":"output","Package":"p","Test":"`+test+`","Output":"--- verdict on `+test+`\n"}`, `{"Action":"`+action+`","Package":"p","Test":"`+test+`"}`)
	}
	for _, c := range []struct {
		name, stream string
		ok           bool
		end          string // what is told again
	}{
		{"all pass", run(start, begun("A"), says("A", "hello"), ends("pass", "A"), passes), true, ""},
		{"a test fails among others", run(start, begun("A"), begun("B"), says("A", "a says"), says("B", "b says"), ends("pass", "A"), ends("fail", "B"), begun("C"), ends("skip", "C"), fails),
			false, "\n=== FAILED: p B\nb says\n--- verdict on B\n\n=== 1 failed:\n    p B\n"},
		{"a subtest fails", run(start, begun("A"), begun("A/x"), begun("A/y"), says("A/x", "x says"), ends("fail", "A/x"), ends("pass", "A/y"), ends("fail", "A"), fails),
			false, "\n=== FAILED: p A/x\nx says\n--- verdict on A/x\n\n=== 1 failed:\n    p A/x\n"},
		{"its parent has something to say", run(start, begun("A"), begun("A/x"), ends("fail", "A/x"), says("A", "in the end"), ends("fail", "A"), fails),
			false, "\n=== FAILED: p A\nin the end\n--- verdict on A\n\n=== FAILED: p A/x\n--- verdict on A/x\n\n=== 2 failed:\n    p A\n    p A/x\n"},
		{"a package fails by itself", run(start, begun("A"), ends("pass", "A"), says("", "a goroutine is left"), fails),
			false, "\n=== FAILED: p\na goroutine is left\nFAIL\n\n=== 1 failed:\n    p\n"},
		{"it does not compile", run(`{"ImportPath":"p","Action":"build-output","Output":"a.go:1: no\n"}`, `{"ImportPath":"p","Action":"build-fail"}`, start, fails),
			false, "\n=== FAILED: p\na.go:1: no\nFAIL\n\n=== 1 failed:\n    p\n"},
		{"it is killed", run(start, begun("A"), says("A", "a says")),
			false, "\n=== FAILED: p A\na says\n(it has not ended)\n\n=== 1 failed:\n    p A\n"},
		{"its messages", run(start, begun("A"), says("A", "    a_test.go:1: the last words of it:"), says("A", "        its words"), says("A", "    a_test.go:2: "+strings.Repeat("x", 1000)), ends("fail", "A"), fails),
			false, "\n=== 1 failed:\n    p A\n        a_test.go:2: " + strings.Repeat("x", maxMessage-len("a_test.go:2: ")) + "\n"},
		{"nothing", "", false, "\n=== no test has run\n"},
		{"no JSON", "go: cannot find main module\n", false, "\n=== no test has run\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got bytes.Buffer
			ok, err := tell(strings.NewReader(c.stream), &got)
			if err != nil || ok != c.ok || !strings.HasSuffix(got.String(), c.end) || c.ok && strings.Contains(got.String(), "FAILED") {
				t.Errorf("%t, %v:\n%s\nwant, at the end:\n%s", ok, err, &got, c.end)
			}
			if strings.Contains(c.stream, "says") && !strings.Contains(got.String(), " says\n") || strings.Contains(c.stream, "go: ") && !strings.Contains(got.String(), "go: ") {
				t.Errorf("the output was not copied:\n%s", &got)
			}
		})
	}
}

// What is said a thousand times is told in part.
func TestLongOutput(t *testing.T) {
	stream := `{"Action":"run","Package":"p","Test":"A"}` + "\n" +
		strings.Repeat(`{"Action":"output","Package":"p","Test":"A","Output":"line\n"}`+"\n", 1000) +
		`{"Action":"fail","Package":"p","Test":"A"}` + "\n"
	var got bytes.Buffer
	if _, err := tell(strings.NewReader(stream), &got); err != nil {
		t.Fatal(err)
	}
	_, again, _ := strings.Cut(got.String(), "=== FAILED")
	if n := strings.Count(again, "line\n"); n != firstLines+lastLines || !strings.Contains(again, "(800 lines are left out)\n") {
		t.Errorf("%d lines are told again", n)
	}
}

// TestOfGo reads what go itself says.
func TestOfGo(t *testing.T) {
	out, err := exec.Command("go", "test", "-count=1", "-json", "-run", "^TestTell$", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if ok, err := tell(bytes.NewReader(out), &got); err != nil || !ok || !strings.Contains(got.String(), "--- PASS: TestTell/all_pass") {
		t.Errorf("%t, %v:\n%s", ok, err, &got)
	}
}
