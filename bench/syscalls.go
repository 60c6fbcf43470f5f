package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Syscalls are counted in a separate pass: counting slows the peer down, so that the other figures of
// that pass are useless.
type Syscalls struct {
	PerRequest float64            `json:"per_request"`
	By         map[string]float64 `json:"by,omitempty"` // a request, by name; only strace tells
	With       string             `json:"with"`
}

// syscallPass is how long they are counted.
const syscallPass = time.Second

// countSyscalls counts with strace, which tells them apart, or else with perf.
func countSyscalls(ctx context.Context, l *load, p *process) (*Syscalls, error) {
	for _, count := range []func(context.Context, *load, *process) (*Syscalls, error){countWithStrace, countWithPerf} {
		s, err := count(ctx, l, p)
		if !errors.Is(err, errNotInstalled) {
			return s, err
		}
	}
	return nil, errors.New("cannot count system calls: neither strace nor perf is there")
}

func pids(p *process) []string {
	list := []string{strconv.Itoa(p.cmd.Process.Pid)}
	for _, child := range childrenOf(p.cmd.Process.Pid) {
		list = append(list, strconv.Itoa(child))
	}
	return list
}

func countWithPerf(ctx context.Context, l *load, p *process) (*Syscalls, error) {
	out, r, err := countBeside(ctx, l, "perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", strings.Join(pids(p), ","))
	if err != nil {
		return nil, err
	}
	n, err := parsePerf(out)
	if err != nil {
		return nil, err
	}
	return &Syscalls{PerRequest: n / float64(r.sent.Load()), With: "perf"}, nil
}

func parsePerf(out []byte) (float64, error) {
	for line := range strings.Lines(string(out)) {
		if count, rest, ok := strings.Cut(line, ","); ok && strings.Contains(rest, "sys_enter") {
			return strconv.ParseFloat(count, 64)
		}
	}
	return 0, fmt.Errorf("cannot read what perf says: %.200s", out)
}

func countWithStrace(ctx context.Context, l *load, p *process) (*Syscalls, error) {
	args := []string{"-c", "-f", "-q"}
	for _, pid := range pids(p) {
		args = append(args, "-p", pid)
	}
	out, r, err := countBeside(ctx, l, "strace", args...)
	if err != nil {
		return nil, err
	}
	s := &Syscalls{By: map[string]float64{}, With: "strace"}
	for name, n := range parseStrace(out) {
		s.By[name] = n / float64(r.sent.Load())
		s.PerRequest += s.By[name]
	}
	if len(s.By) == 0 {
		return nil, fmt.Errorf("cannot read what strace says: %.200s", out)
	}
	return s, nil
}

// parseStrace reads the lines "% time  seconds  usecs/call  calls  [errors]  name".
func parseStrace(out []byte) map[string]float64 {
	counts := map[string]float64{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[len(fields)-1] == "total" {
			continue
		}
		if _, err := strconv.ParseFloat(fields[0], 64); err != nil {
			continue
		}
		if n, err := strconv.ParseFloat(fields[3], 64); err == nil {
			counts[fields[len(fields)-1]] += n
		}
	}
	return counts
}

// countBeside runs the load beside a counter, which prints its counts when it is interrupted.
func countBeside(ctx context.Context, l *load, name string, args ...string) ([]byte, *recorder, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, nil, errNotInstalled
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	time.Sleep(300 * time.Millisecond) // until it has attached to every thread
	r := l.run(ctx, syscallPass, nil)
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait() // its exit code tells of the signal
	if r.sent.Load() == 0 {
		return nil, nil, fmt.Errorf("cannot count system calls: no request was sent beside %s", name)
	}
	return out.Bytes(), r, nil
}
