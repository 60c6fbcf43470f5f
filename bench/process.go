package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is a server that the bench has started.
type process struct {
	cmd  *exec.Cmd
	addr string
	dir  string // removed with it
	end  io.Closer
}

// startStore starts a storage in a process of its own; it ends with this one.
func startStore() (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, storeCommand, "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("cannot start a storage: %w", err)
	}
	return &process{cmd: cmd, addr: strings.TrimSpace(line), end: in}, nil
}

func (p *process) stop() {
	if p.cmd == nil {
		return
	}
	if p.end != nil {
		_ = p.end.Close()
	}
	_ = p.cmd.Process.Signal(os.Interrupt)
	done := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-done
	}
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// usage is what a process and its children have used so far (proc(5)).
type usage struct {
	user, system time.Duration
	peak         int64 // bytes of resident memory
	switches     int64
}

func (u usage) since(before usage) usage {
	return usage{u.user - before.user, u.system - before.system, u.peak, u.switches - before.switches}
}

// clockTick is the unit of CPU times in /proc on Linux for all but the oldest
// architectures.
const clockTick = 10 * time.Millisecond

func (p *process) usage() usage {
	if p.cmd == nil {
		return usage{}
	}
	return usageOf(p.cmd.Process.Pid)
}

func usageOf(pid int) usage {
	var u usage
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	if stat, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		u.user, u.system = ticks(fields[11]), ticks(fields[12])
	}
	tasks, _ := filepath.Glob(filepath.Join(dir, "task", "*"))
	for _, task := range tasks {
		u.switches += statusField(task, "voluntary_ctxt_switches:") + statusField(task, "nonvoluntary_ctxt_switches:")
		if children, err := os.ReadFile(filepath.Join(task, "children")); err == nil {
			for _, child := range strings.Fields(string(children)) {
				if n, err := strconv.Atoi(child); err == nil {
					c := usageOf(n)
					u.user, u.system, u.peak, u.switches = u.user+c.user, u.system+c.system, u.peak+c.peak, u.switches+c.switches
				}
			}
		}
	}
	u.peak += statusField(dir, "VmHWM:") << 10
	return u
}

func ticks(s string) time.Duration {
	n, _ := strconv.ParseInt(s, 10, 64)
	return time.Duration(n) * clockTick
}

func statusField(dir, name string) int64 {
	b, _ := os.ReadFile(filepath.Join(dir, "status"))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
