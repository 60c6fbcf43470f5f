package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what a process and its children have used so far (proc(5)), and, for
// the proxy, what its runtime has counted. JSON names are those of the results.
type usage struct {
	User     time.Duration `json:"user_ns"`
	System   time.Duration `json:"system_ns"`
	Peak     int64         `json:"peak_rss_bytes"` // since the process began
	RSS      int64         `json:"rss_bytes"`      // at the end
	Switches int64         `json:"context_switches"`
	Mallocs  int64         `json:"allocations"`
	Alloced  int64         `json:"allocated_bytes"`
}

func (u usage) since(before usage) usage {
	return usage{u.User - before.User, u.System - before.System, u.Peak, u.RSS, u.Switches - before.Switches,
		u.Mallocs - before.Mallocs, u.Alloced - before.Alloced}
}

func (p *process) usage() (usage, error) {
	if p.cmd == nil {
		return usage{}, nil
	}
	u := usageOf(p.cmd.Process.Pid)
	if p.admin == "" {
		return u, nil
	}
	counters, err := scrape(p.admin, "go_memstats_mallocs_total", "go_memstats_alloc_bytes_total")
	if err != nil {
		return usage{}, err
	}
	u.Mallocs, u.Alloced = int64(counters[0]), int64(counters[1])
	return u, nil
}

// usageBefore is the usage of an idle process, to be subtracted later. Reading the proxy's counters
// allocates in the proxy (a thousand times, mostly after they are read): that is measured by reading
// twice, and subtracted.
func (p *process) usageBefore() (usage, error) {
	first, err := p.usage()
	if err != nil {
		return usage{}, err
	}
	u, err := p.usage()
	u.Mallocs += u.Mallocs - first.Mallocs
	u.Alloced += u.Alloced - first.Alloced
	return u, err
}

// clockTick is the unit of CPU times in /proc on Linux for all but the oldest
// architectures.
const clockTick = 10 * time.Millisecond

func usageOf(pid int) usage {
	var u usage
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	if stat, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 12 {
			u.User, u.System = ticks(fields[11]), ticks(fields[12])
		}
	}
	tasks, _ := filepath.Glob(filepath.Join(dir, "task", "*"))
	for _, task := range tasks {
		status := statusOf(task)
		u.Switches += status["voluntary_ctxt_switches:"] + status["nonvoluntary_ctxt_switches:"]
	}
	for _, child := range childrenOf(pid) {
		c := usageOf(child)
		u.User, u.System, u.Switches = u.User+c.User, u.System+c.System, u.Switches+c.Switches
		u.Peak, u.RSS = u.Peak+c.Peak, u.RSS+c.RSS
	}
	status := statusOf(dir)
	u.Peak += status["VmHWM:"] << 10
	u.RSS += status["VmRSS:"] << 10
	return u
}

// rss is the resident memory of a process and its children, cheaply.
func (p *process) rss() int64 {
	if p.cmd == nil {
		return 0
	}
	return rssOf(p.cmd.Process.Pid)
}

func rssOf(pid int) int64 {
	var pages int64
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)); err == nil {
		if fields := strings.Fields(string(b)); len(fields) > 1 {
			pages, _ = strconv.ParseInt(fields[1], 10, 64)
		}
	}
	sum := pages * int64(os.Getpagesize())
	for _, child := range childrenOf(pid) {
		sum += rssOf(child)
	}
	return sum
}

// childrenOf are those of the main thread, as daemons have their workers.
func childrenOf(pid int) []int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var pids []int
	for _, s := range strings.Fields(string(b)) {
		if n, err := strconv.Atoi(s); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

func ticks(s string) time.Duration {
	n, _ := strconv.ParseInt(s, 10, 64)
	return time.Duration(n) * clockTick
}

// statusOf are the numbers in a status file, memory in KiB.
func statusOf(dir string) map[string]int64 { return numbersOf(filepath.Join(dir, "status")) }

// numbersOf returns the numbers in a file, by the names in front of them.
func numbersOf(path string) map[string]int64 {
	b, _ := os.ReadFile(path)
	status := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 1 {
			if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				status[fields[0]] = n
			}
		}
	}
	return status
}

// profileOf writes a CPU profile of the time from now on to the file of -profile, if one is given. The
// peers have none.
func (o *options) profileOf(p *process, d time.Duration) error {
	if o.profile == "" || p.admin == "" {
		return nil
	}
	client := http.Client{Timeout: d + time.Minute}
	answer, err := client.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.admin, max(1, int(d.Seconds()))))
	if err != nil {
		return fmt.Errorf("cannot profile the proxy: %w", err)
	}
	defer answer.Body.Close()
	profile, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", answer.Status, profile)
	}
	if err != nil {
		return fmt.Errorf("cannot profile the proxy: %w", err)
	}
	return os.WriteFile(o.profile, profile, 0o644)
}

// scrape reads counters from the proxy's metrics.
func scrape(admin string, names ...string) ([]float64, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + admin + "/metrics")
	if err != nil {
		return nil, fmt.Errorf("cannot read the proxy's metrics: %w", err)
	}
	defer answer.Body.Close()
	values := make([]float64, len(names))
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		for i, name := range names {
			if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
				values[i], _ = strconv.ParseFloat(rest, 64)
			}
		}
	}
	return values, lines.Err()
}
