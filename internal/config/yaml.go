package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// yamlParser is a koanf.Parser. koanf's own one drops all documents but the first,
// and turns a header's value into a number or a date where it looks like one.
type yamlParser struct{}

func (yamlParser) Unmarshal(text []byte) (map[string]any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := dec.Decode(&second); err == nil {
		return nil, fmt.Errorf("line %d: a second YAML document begins here, only one is allowed", second.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return map[string]any{}, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: the configuration must be a map of keys", root.Line)
	}
	keysAsText(root)
	headersAsText(root)
	m := map[string]any{}
	err := root.Decode(&m)
	return m, err
}

func (yamlParser) Marshal(m map[string]any) ([]byte, error) { return yaml.Marshal(m) }

// keysAsText makes each key a text. The null in `~: 5` would be dropped without a
// word, key and value.
func keysAsText(n *yaml.Node) {
	for i, inner := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			asText(inner)
		}
		keysAsText(inner)
	}
}

// headersAsText makes `Access-Control-Max-Age: 600` the text "600", as it stands
// there: the original took that too.
func headersAsText(root *yaml.Node) {
	for i := 0; i+1 < len(root.Content); i += 2 {
		headers := root.Content[i+1]
		if headers.Kind == yaml.AliasNode {
			headers = headers.Alias
		}
		if known[root.Content[i].Value] != reflect.TypeFor[map[string]string]() || headers.Kind != yaml.MappingNode {
			continue
		}
		for i, value := range headers.Content {
			if i%2 == 1 && value.Tag != "!!null" {
				asText(value)
			}
		}
	}
}

func asText(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!merge" {
		n.Tag = "!!str"
	}
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// yamlMistakes names file and line of what is wrong YAML.
func yamlMistakes(file string, text []byte, err error) Errors {
	lines := []string{err.Error()}
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		lines = te.Errors
	}
	m := &mistakes{}
	for _, line := range lines {
		prefix := yamlLine.FindStringSubmatch(line)
		number := prefix[1]
		if n := unparsableLine(text); n > 0 {
			number = strconv.Itoa(n)
		}
		where := ""
		switch {
		case file != "" && number != "":
			where = file + ":" + number + ": "
		case file != "":
			where = file + ": "
		case number != "":
			where = "line " + number + ": "
		}
		m.line("%scannot parse YAML: %s", where, line[len(prefix[0]):])
	}
	return m.lines
}

// unparsableLine is the line behind the longest part of text that is whole YAML, or
// 0 where all of it is. The parser names, for a line that stands in too far, the
// beginning of the block it is in, which may be the file's.
func unparsableLine(text []byte) int {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if len(text) > 64<<10 || len(lines) > 2000 {
		return 0 // it would take too long
	}
	var ignored yaml.Node
	for end, n := len(text), len(lines); n > 0; n-- {
		if yaml.Unmarshal(text[:end], &ignored) == nil {
			return (n + 1) % (len(lines) + 1)
		}
		end -= len(lines[n-1])
	}
	return 1
}
