package engine

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

// A field of a request's owners that many files touch has no owner: six files are the most,
// the owner's own among them. What others want to know or do is a method. What the client
// asks for does not change once the legs run: of its fields only the writing counts.
func TestRequestFieldsHaveOwners(t *testing.T) {
	const most = 6
	owners := map[string]string{
		"head": "requestHead", "client": "client", "race": "race", "ledger": "requestLedger",
	}
	files := mustParse(t)
	for owner, name := range owners {
		fields := structFields(files, name)
		if len(fields) < 4 {
			t.Fatalf("%s has %d fields: this test looks at the wrong ones", name, len(fields))
		}
		var touching []string
		for path, file := range files {
			if owner == "head" && !sets(file, owner, fields) {
				continue
			}
			if touches(file, owner, name, fields) {
				touching = append(touching, path)
			}
		}
		slices.Sort(touching)
		if len(touching) > most {
			t.Errorf("the fields of %s are touched in %d files, %d are the most: %s", name, len(touching), most, strings.Join(touching, ", "))
		}
		if len(touching) == 0 {
			t.Errorf("no file touches the fields of %s: this test looks at the wrong ones", name)
		}
	}
}

// mustParse gives the package's files without its tests, by name.
func mustParse(t *testing.T) map[string]*ast.File {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	testkit.MustDo(t, err)
	files := map[string]*ast.File{}
	set := token.NewFileSet()
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		testkit.MustDo(t, err)
		files[path] = f
	}
	return files
}

// structFields is the fields of a struct, those that it embeds among them.
func structFields(files map[string]*ast.File, name string) map[string]bool {
	fields := map[string]bool{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.TypeSpec)
			if !ok || s.Name.Name != name {
				return true
			}
			typ, ok := s.Type.(*ast.StructType)
			if !ok {
				return false
			}
			for _, field := range typ.Fields.List {
				for _, n := range field.Names {
					fields[n.Name] = true
				}
				if embedded, ok := field.Type.(*ast.Ident); ok && len(field.Names) == 0 {
					for n := range structFields(files, embedded.Name) {
						fields[n] = true
					}
				}
			}
			return false
		})
	}
	return fields
}

// touches reports whether a file has a request's owner.field, or a method of the owner's.
func touches(f *ast.File, owner, name string, fields map[string]bool) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			of, ok := n.X.(*ast.SelectorExpr)
			found = found || ok && of.Sel.Name == owner && fields[n.Sel.Name]
		case *ast.UnaryExpr: // by another name
			of, ok := n.X.(*ast.SelectorExpr)
			found = found || ok && n.Op == token.AND && of.Sel.Name == owner
		case *ast.FuncDecl:
			if n.Recv != nil {
				star, ok := n.Recv.List[0].Type.(*ast.StarExpr)
				if ok {
					id, ok := star.X.(*ast.Ident)
					found = found || ok && id.Name == name
				}
			}
		}
		return !found
	})
	return found
}

// sets reports whether a file assigns to a request's owner.field.
func sets(f *ast.File, owner string, fields map[string]bool) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok {
			return true
		}
		for _, left := range a.Lhs {
			for { // up from what of the field is set
				s, ok := left.(*ast.SelectorExpr)
				if !ok {
					break
				}
				of, ok := s.X.(*ast.SelectorExpr)
				found = found || ok && of.Sel.Name == owner && fields[s.Sel.Name]
				left = s.X
			}
		}
		return true
	})
	return found
}

// The package comment is the folder's map: each file is on it, once.
func TestEveryFileIsOnTheMap(t *testing.T) {
	files := mustParse(t)
	f, err := parser.ParseFile(token.NewFileSet(), "engine.go", nil, parser.ParseComments)
	testkit.MustDo(t, err)
	var patterns []string
	for line := range strings.Lines(f.Doc.Text()) {
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(line, "\t") && strings.HasSuffix(word, ".go") {
				patterns = append(patterns, word)
			}
		}
	}
	for path := range files {
		on := 0
		for _, p := range patterns {
			if ok, _ := filepath.Match(p, path); ok {
				on++
			}
		}
		if on != 1 {
			t.Errorf("%s is on the map in engine.go %d times", path, on)
		}
	}
}
