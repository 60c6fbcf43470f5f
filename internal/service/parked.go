package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/ledger"
	"github.com/akubra/akubra/internal/remote"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/task"
)

// NewAsker makes a Repairer that only asks the backends what they have for a key. maintained may
// be nil.
func NewAsker(c *config.Config, environ []string, maintained func(string) bool) (*repair.Repairer, error) {
	o, err := RepairOptions(c, environ)
	if err != nil {
		return nil, err
	}
	o.Journal, o.Maintained, o.DryRun = noTasks{}, maintained, true
	return repair.New(o)
}

// noTasks is an empty journal, for asking only.
type noTasks struct{}

func (noTasks) Next(uint64) (t task.Task, next uint64, ok bool, err error) { return t, 0, false, nil }
func (noTasks) Resolve(*task.Task) (bool, error)                           { return false, errAsksOnly }
func (noTasks) Note(*task.Task) (bool, error)                              { return false, errAsksOnly }
func (noTasks) Add(*task.Task) error                                       { return errAsksOnly }

var errAsksOnly = errors.New("cannot write to a journal that is not there")

const (
	maxShown    = 1000 // parked keys on a page
	maxAsked    = 100  // of these are looked up on the backends
	askers      = 8
	askPatience = 20 * time.Second
)

// journalPage is the response to GET /journal.
type journalPage struct {
	remote.Status
	ParkedKeys []ledger.Known `json:"parked_keys"`
	More       bool           `json:"more_parked,omitempty"` // than ParkedKeys has
}

// journalPage returns up to limit parked keys, of one reason unless it is "", and with ask what
// each backend has for them now.
func (p *Proxy) journalPage(limit int, reason string, ask bool) (status int, page any, err error) {
	if reason != "" && !slices.Contains(task.ParkReasons, task.ParkReason(reason)) {
		return http.StatusBadRequest, nil, fmt.Errorf("cannot find reason %q: there are %q", reason, task.ParkReasons)
	}
	var asker *repair.Repairer
	if ask {
		if asker, err = NewAsker(p.current.Load(), os.Environ(), p.isOut); err != nil {
			return http.StatusConflict, nil, fmt.Errorf("cannot ask the backends: %w", err)
		}
		defer asker.CloseIdle()
		limit = min(limit, maxAsked)
	}
	j := journalPage{Status: p.journalAdmin.Status(), ParkedKeys: []ledger.Known{}}
	parked := repair.OnlyParked(p.journal)
	var tasks []task.Task
	for cursor := uint64(0); limit > 0 && !j.More; {
		t, next, ok, err := parked.Next(cursor)
		if err != nil {
			return http.StatusInternalServerError, nil, err
		}
		if !ok {
			break
		}
		cursor = next
		switch {
		case reason != "" && string(t.Parked) != reason:
		case len(tasks) == min(limit, maxShown):
			j.More = true
		default:
			tasks = append(tasks, t)
			j.ParkedKeys = append(j.ParkedKeys, ledger.KnownOf(&t))
		}
	}
	if asker != nil {
		askAll(asker, tasks, j.ParkedKeys)
	}
	return http.StatusOK, &j, nil
}

// askAll asks for a few keys at a time.
func askAll(asker *repair.Repairer, tasks []task.Task, known []ledger.Known) {
	ctx, cancel := context.WithTimeout(context.Background(), askPatience)
	defer cancel()
	work := make(chan int)
	var workers sync.WaitGroup
	for range min(askers, len(tasks)) {
		workers.Go(func() {
			for i := range work {
				known[i].Heads, known[i].HeadsOf = asker.Show(ctx, &tasks[i]), time.Now().UTC()
			}
		})
	}
	for i := range tasks {
		work <- i
	}
	close(work)
	workers.Wait()
}
