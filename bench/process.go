package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is a server that the bench has started.
type process struct {
	cmd   *exec.Cmd // nil for a backend that is driven as it is
	addr  string
	admin string // the proxy's second listener
	dir   string // removed with it
	in    io.WriteCloser
	out   *bufio.Reader
}

// startBackend starts a backend in a process of its own; it ends with this one.
func startBackend() (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, backendCommand, "127.0.0.1:0")
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
	p := &process{cmd: cmd, in: in, out: bufio.NewReader(out)}
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("cannot start a backend: %w", err)
	}
	p.addr = strings.TrimSpace(line)
	return p, nil
}

// ask sends a command to a backend and returns the reply.
func (p *process) ask(command string) (string, error) {
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		return "", fmt.Errorf("cannot ask a backend %q: %w", command, err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("cannot ask a backend %q: %w", command, err)
	}
	return strings.TrimSpace(line), nil
}

func (p *process) seen() (int64, error) {
	line, err := p.ask("seen")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(line, 10, 64)
}

func (p *process) take() (*backendCounts, error) {
	line, err := p.ask("take")
	if err != nil {
		return nil, err
	}
	c := &backendCounts{}
	return c, json.Unmarshal([]byte(line), c)
}

func (p *process) setFault(f *fault) error {
	_, err := p.ask("fault " + f.String())
	return err
}

// start writes a peer's files, starts it, and waits until it listens.
func start(addr string, files map[string][]byte, command func(dir string) *exec.Cmd) (*process, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	p := &process{addr: addr, dir: dir}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			p.stop()
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		p.stop()
		return nil, err
	}
	defer log.Close()
	cmd := command(dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.stop()
		return nil, err
	}
	p.cmd = cmd
	for deadline := time.Now().Add(10 * time.Second); ; {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			_ = nc.Close()
			return p, nil
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(filepath.Join(dir, "log"))
			p.stop()
			return nil, fmt.Errorf("cannot connect to %s within 10 s of its start: %s", addr, said)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// stop ends the process, by force if it takes its time, and removes its files.
func (p *process) stop() {
	if p.cmd != nil {
		if p.in != nil {
			_ = p.in.Close()
		}
		_ = p.cmd.Process.Signal(os.Interrupt)
		done := make(chan struct{})
		go func() { _ = p.cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(3 * time.Second):
			_ = p.cmd.Process.Kill()
			<-done
		}
	}
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

var errNotInstalled = errors.New("not installed")

// findBinary looks in PATH and where Debian keeps daemons.
func findBinary(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path := filepath.Join("/usr/sbin", name)
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return path, nil
	}
	return "", errNotInstalled
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
