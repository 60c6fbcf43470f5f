package metrics

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// page is one scrape, in Prometheus's text format.
type page struct {
	bytes.Buffer
	name   string   // of the family begun last
	labels []string // of that family
}

var familyNamed = func() map[string]*Family {
	m := map[string]*Family{}
	for i := range Families {
		m[Families[i].Name] = &Families[i]
	}
	return m
}()

// begin begins a family. Its samples follow.
func (p *page) begin(name string) {
	f := familyNamed[name]
	if f == nil {
		panic(fmt.Sprintf("metrics: %s is not in Families", name))
	}
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n", name, f.Help, name, f.Kind)
	p.name, p.labels = name, nil
	if f.Labels != "" {
		p.labels = strings.Split(f.Labels, ",")
	}
}

// labelEscapes are the escapes of the text format; Go's %q has more.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// series writes a sample's name, with the values of the family's labels and more.
func (p *page) series(suffix string, values []string, more string) {
	if len(values) != len(p.labels) {
		panic(fmt.Sprintf("metrics: %s has the labels %q, and not %d", p.name, p.labels, len(values)))
	}
	p.WriteString(p.name + suffix)
	sep := byte('{')
	for i, label := range p.labels {
		p.WriteByte(sep)
		p.WriteString(label + `="` + labelEscapes.Replace(values[i]) + `"`)
		sep = ','
	}
	if more != "" {
		p.WriteByte(sep)
		p.WriteString(more)
		sep = ','
	}
	if sep == ',' {
		p.WriteByte('}')
	}
	p.WriteByte(' ')
}

// count writes a sample of the family that was begun.
func (p *page) count(n uint64, values ...string) {
	p.series("", values, "")
	p.WriteString(strconv.FormatUint(n, 10) + "\n")
}

func (p *page) value(v float64, values ...string) {
	p.series("", values, "")
	p.WriteString(strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

// one writes a family that has one sample.
func (p *page) one(name string, n uint64) {
	p.begin(name)
	p.count(n)
}

func (p *page) oneValue(name string, v float64) {
	p.begin(name)
	p.value(v)
}

// oneSize is one for a number that may have become negative by a race.
func (p *page) oneSize(name string, n int64) { p.one(name, uint64(max(0, n))) }

// Write writes everything in Prometheus's text format.
func (m *Metrics) Write(w io.Writer) {
	var p page
	m.writeCounted(&p)
	m.writeObserved(&p)
	m.writeClients(&p)
	m.writeHealth(&p)
	m.writeFar(&p)
	m.writeLogs(&p)
	m.writeJournal(&p)
	m.writeProcess(&p)
	_, _ = w.Write(p.Bytes())
	var process bytes.Buffer
	metrics.WriteProcessMetrics(&process)
	metrics.WriteFDMetrics(&process)
	_, _ = w.Write(helped(process.Bytes()))
}

var misnamed = regexp.MustCompile(`^(# (HELP|TYPE) )?go_(cgo_calls|cpu|gc_forced)_count\b`)

// helped gives the library's metrics a help text, and the type counter to those that only grow. It
// leaves out any whose name is reserved for a histogram (promtool check metrics).
func helped(text []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		name, isHelp := bytes.CutPrefix(bytes.TrimSpace(line), []byte("# HELP "))
		switch {
		case misnamed.Match(line):
		case isHelp:
			fmt.Fprintf(&b, "# HELP %s Of Go's runtime, or of the process as the system sees it.\n", name)
		case bytes.HasPrefix(line, []byte("# TYPE ")) && bytes.HasSuffix(line, []byte("_total gauge\n")):
			b.Write(bytes.TrimSuffix(line, []byte("gauge\n")))
			b.WriteString("counter\n")
		default:
			b.Write(line)
		}
	}
	return b.Bytes()
}
