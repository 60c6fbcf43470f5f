package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// The documents whose names are checked, by their paths from the repository's root.
var checked = []string{"docs/ARCHITECTURE.md", "CONTRIBUTING.md", "synclog/journal/INVARIANTS.md"}

var (
	fenced   = regexp.MustCompile("(?ms)^```.*?\n```$")
	quoted   = regexp.MustCompile("`([^`\n]+)`")
	linked   = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	function = regexp.MustCompile(`^(?:(\w+)\.)?(\w+)\(\)$`)
	field    = regexp.MustCompile(`^(\w+)\.(\w+)$`)
	file     = regexp.MustCompile(`^[\w.-]+(/[\w.-]+)+/?$|^[\w.-]+/$|^[\w.-]*\.(go|md|yml|pgo|mod|example)$`)
	word     = regexp.MustCompile(`^[a-z]{2,}[A-Z]\w+$`) // not mustX and xLocked, which are kinds of names
	target   = regexp.MustCompile("(?m)(?:`|^)make ([a-z]+)")
	isTest   = regexp.MustCompile(`^(Test|Fuzz|Benchmark)`)
	made     = regexp.MustCompile(`(?m)^([a-z]+):`)
)

// TestNamesExist looks in the tree for the functions, fields, paths and make targets that
// the documents name.
func TestNamesExist(t *testing.T) {
	names := mustReadNames(t)
	makefile, err := os.ReadFile("../Makefile")
	testkit.MustDo(t, err)
	targets := map[string]bool{}
	for _, m := range made.FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	for _, doc := range checked {
		text, err := os.ReadFile(filepath.Join("..", doc))
		testkit.MustDo(t, err)
		content, found := string(text), 0
		for _, m := range target.FindAllStringSubmatch(content, -1) {
			if !targets[m[1]] {
				t.Errorf("%s names make %s, which is not in the Makefile", doc, m[1])
			}
		}
		// Of a block of code only folders are names: what else looks like one may be output.
		for _, block := range fenced.FindAllString(content, -1) {
			for _, word := range strings.FieldsFunc(block, func(r rune) bool { return strings.ContainsRune(" \n,;", r) }) {
				if strings.HasSuffix(word, "/") && file.MatchString(word) {
					wantFile(t, doc, word, word)
				}
			}
		}
		content = fenced.ReplaceAllString(content, "")
		for _, m := range linked.FindAllStringSubmatch(content, -1) {
			wantFile(t, doc, m[1], filepath.Join(filepath.Dir(doc), m[1]))
		}
		for _, m := range quoted.FindAllStringSubmatch(content, -1) {
			found++
			if f := function.FindStringSubmatch(m[1]); f != nil {
				if !names[strings.TrimPrefix(f[1]+"."+f[2], ".")+"()"] {
					t.Errorf("%s names %s, which is not in the code", doc, m[1])
				}
			} else if f := field.FindStringSubmatch(m[1]); len(f) > 1 && names[f[1]] {
				if !names[m[1]] {
					t.Errorf("%s names %s, which is not in the code", doc, m[1])
				}
			} else if word.MatchString(m[1]) {
				if !names["word "+m[1]] {
					t.Errorf("%s names %s, which is not in the code", doc, m[1])
				}
			} else if file.MatchString(m[1]) {
				wantFile(t, doc, m[1], m[1])
			}
		}
		if found < 10 {
			t.Errorf("only %d names found in %s: this test looks at the wrong ones", found, doc)
		}
	}
}

// wantFile looks for a path from the root.
func wantFile(t *testing.T, doc, name, path string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join("..", path)); err != nil {
		t.Errorf("%s names %s, which is not there", doc, name)
	}
}

// mustReadNames gives what the code declares: functions and methods as "name()", also with
// their package or type before them, "Type.field", types, and every identifier as "word name". Of a
// test file's functions only the tests count: what only they call is no part of the proxy.
func mustReadNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files := token.NewFileSet()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "..":
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		inTest := strings.HasSuffix(path, "_test.go")
		ast.Inspect(f, func(n ast.Node) bool {
			if id, is := n.(*ast.Ident); is && !inTest {
				names["word "+id.Name] = true
			}
			return true
		})
		for _, decl := range f.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if inTest && !isTest.MatchString(d.Name.Name) {
					continue
				}
				names[d.Name.Name+"()"] = true
				if d.Recv == nil {
					names[f.Name.Name+"."+d.Name.Name+"()"] = true
				} else if of := typeName(d.Recv.List[0].Type); of != "" {
					names[of+"."+d.Name.Name+"()"] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok {
						addType(names, s)
					}
				}
			}
		}
		return nil
	})
	testkit.MustDo(t, err)
	return names
}

// addType adds a type, and its fields or its interface's methods.
func addType(names map[string]bool, s *ast.TypeSpec) {
	names[s.Name.Name] = true
	var members *ast.FieldList
	call := ""
	switch typ := s.Type.(type) {
	case *ast.StructType:
		members = typ.Fields
	case *ast.InterfaceType:
		members, call = typ.Methods, "()"
	default:
		return
	}
	for _, m := range members.List {
		for _, name := range m.Names {
			names[s.Name.Name+"."+name.Name+call] = true
			if call != "" {
				names[name.Name+call] = true
			}
		}
	}
}

// typeName is a receiver's type.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
