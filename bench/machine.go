package main

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
)

// Machine describes where results were measured.
type Machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPUs   int    `json:"cpus"`
	Model  string `json:"model,omitempty"`
	Kernel string `json:"kernel,omitempty"`
	Memory int64  `json:"memory_bytes,omitempty"`
	// Congestion is TCP's default algorithm: one that paces what it sends (BBR) costs more than all
	// the rest of a large request (NOTES.md).
	Congestion string `json:"congestion_control,omitempty"`
}

func thisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	m.Kernel = setting("/proc/sys/kernel/osrelease")
	m.Congestion = setting("/proc/sys/net/ipv4/tcp_congestion_control")
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	m.Memory = numbersOf("/proc/meminfo")["MemTotal:"] << 10
	return m
}

// setting reads a file of one line; it is empty if there is none.
func setting(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// versions are the versions of everything that takes part.
func versions(o *options) map[string]string {
	v := map[string]string{"go": runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
				v["bench."+s.Key] = s.Value
			}
		}
	}
	for _, t := range o.targets {
		v[t.name] = t.url
	}
	if len(o.targets) > 0 {
		return v
	}
	v["akubra"] = firstLine(o.proxy, "--version")
	if nginx, err := findBinary("nginx"); err == nil {
		v["nginx"] = firstLine(nginx, "-v")
	}
	return v
}

func firstLine(name string, args ...string) string {
	b, _ := exec.Command(name, args...).CombinedOutput()
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return string(line)
}
