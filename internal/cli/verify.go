package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/internal/service"
	"github.com/akubra/akubra/internal/text"
	"github.com/akubra/akubra/synclog/repair"
)

// verify compares the backends. Differences go to stdout, everything else to stderr.
func (c *cli) verify(config *config.Config, f *verifyFlags) int {
	if (f.bucket == "") != f.all {
		_ = c.wrong(errors.New("verify needs a bucket or all of them: --bucket BUCKET or --all"))
		return exitUsage
	}
	backends, err := service.RepairBackends(config, os.Environ())
	if err != nil {
		return c.wrong(err)
	}
	screen := newProgress(c.stderr)
	o := repair.VerifyOptions{
		Backends: backends, Bucket: f.bucket, Prefix: f.prefix, Deep: f.deep,
		IgnoreETags:      !config.CompareETags,
		Missing:          f.missing,
		Concurrency:      config.Repair.Objects(),
		ObjectsPerSecond: config.Repair.ObjectsPerSecond,
		DialTimeout:      config.ConnectionDialTimeout,
		Timeout:          config.ConnectionTimeout,
		Log:              screen,
	}
	unseen := func(err error) int { return c.report(err, exitWrong) } // 1 means that they differ
	if f.journal {
		w, err := openWork(config, screen.warn)
		if err != nil {
			return unseen(err)
		}
		defer func() {
			if err := w.close(); err != nil {
				screen.warn(err)
			}
		}()
		o.Journal, o.Busy = w.Journal, w.busy
	} else if config.AdminListen != "" {
		// If a proxy runs, it knows what is pending or being written.
		proxy := remote.NewClient(config.AdminListen, screen.warn)
		proxy.Token = string(config.AdminToken)
		defer proxy.Close()
		ctx, cancel := context.WithTimeout(context.Background(), remote.Timeout)
		if proxy.Check(ctx, config.JournalDir()) == nil {
			o.Busy = proxy.Busy
		}
		cancel()
	}
	if o.Memory, err = service.OpenManners(config); err != nil {
		return unseen(err)
	}
	o.OnNotKept = func(backend, what string) {
		screen.print(c.stderr, fmt.Sprintf("not kept by %s: %s", backend, text.Printable(what)))
	}
	o.OnDifference = func(d repair.Difference) { screen.print(c.stdout, differenceLine(&d, f.json)) }
	ctx, stop := c.untilSignal()
	defer stop()
	latest := make(chan repair.VerifySummary, 1)
	o.Progress = func(s repair.VerifySummary) {
		select {
		case <-latest:
		default:
		}
		latest <- s
	}
	var shown repair.VerifySummary
	end := screen.begin(func() string {
		select {
		case shown = <-latest:
		default:
		}
		return fmt.Sprintf("comparing: %s, %d differ, at %s", keys(int(shown.Keys)), shown.DifferentKeys(), text.Printable(shown.Last))
	})
	defer end()
	var s repair.VerifySummary
	if f.all {
		s, err = repair.VerifyAll(ctx, o)
	} else {
		s, err = repair.Verify(ctx, o)
	}
	end()
	if err := service.KeepVerified(config, s, err == nil && f.all); err != nil {
		screen.warn(err)
	}
	fmt.Fprintln(c.stderr, verified(&s, f.journal))
	switch {
	case err != nil:
		return unseen(err)
	case s.Errors > 0:
		return unseen(fmt.Errorf("%s could not be compared", keys(int(s.Errors))))
	case s.Differences > 0:
		return exitFailed
	}
	return exitOK
}

// verified is the last line: each key is in one of its counts, and a bucket in none of the keys'.
func verified(s *repair.VerifySummary, journaled bool) string {
	line := fmt.Sprintf("compared %s: %d differ (%d missing somewhere)", keys(int(s.Keys)), s.DifferentKeys(), s.Missing)
	if s.Buckets > 0 {
		line += fmt.Sprintf(", %s missing somewhere", count(int(s.Buckets), "bucket"))
	}
	if s.Settings > 0 {
		line += fmt.Sprintf(", %s with different versioning", count(int(s.Settings), "bucket"))
	}
	if s.Busy > 0 {
		line += fmt.Sprintf(", %d pending or being written", s.Busy)
	}
	if s.NotKept > 0 {
		line += fmt.Sprintf(", %d in what a backend does not keep", s.NotKept)
	}
	if journaled {
		line += fmt.Sprintf(", %d journaled", s.Added)
	}
	return line
}

type differenceJSON struct {
	Kind     string        `json:"kind"`
	Bucket   string        `json:"bucket"`
	Key      jsonText      `json:"key"`
	KeyBytes []byte        `json:"keybytes,omitempty"`
	Have     []repair.Have `json:"have"`
}

func differenceLine(d *repair.Difference, asJSON bool) string {
	if asJSON {
		var b strings.Builder
		_ = writeJSONLine(&b, &differenceJSON{d.Kind, d.Bucket, jsonText(d.Key), bytesOf(d.Key), d.Have}) // a Builder never fails
		return strings.TrimSuffix(b.String(), "\n")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s", d.Kind, text.Printable(d.Bucket+"/"+d.Key))
	if d.What != "" {
		fmt.Fprintf(&b, " (%s)", text.Printable(d.What))
	}
	for i := range d.Have {
		h := &d.Have[i]
		fmt.Fprintf(&b, "\t%s: %s", h.Backend, haveText(h))
	}
	return b.String()
}

func haveText(h *repair.Have) string {
	switch {
	case h.Error != "":
		return text.Printable(h.Error)
	case !h.Present:
		return "missing"
	case h.Versioning != "":
		return h.Versioning
	}
	line := fmt.Sprintf("%d B", h.Size)
	if h.ETag != "" {
		line += " " + text.Printable(h.ETag)
	}
	if h.Damaged {
		line += " damaged"
	}
	if h.SHA256 != "" {
		line += " sha256 " + h.SHA256
	}
	if !h.Modified.IsZero() {
		line += " " + h.Modified.UTC().Format(time.RFC3339) + " by its clock"
	}
	return line
}
