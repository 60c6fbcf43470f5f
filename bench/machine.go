package main

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
)

// Machine is where results were taken.
type Machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPUs   int    `json:"cpus"`
	Model  string `json:"model,omitempty"`
	Kernel string `json:"kernel,omitempty"`
	Memory int64  `json:"memory_bytes,omitempty"`
}

func thisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
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

// versions are those of everything that takes part.
func versions(o *options) map[string]string {
	v := map[string]string{"go": runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
				v["bench."+s.Key] = s.Value
			}
		}
	}
	if o.s3.url != "" {
		v["target"] = o.s3.url
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
