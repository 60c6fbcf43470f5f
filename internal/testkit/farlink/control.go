package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/akubra/akubra/internal/testkit/link"
)

// control takes orders for a link.
type control struct {
	*link.Link

	mu   sync.Mutex
	flap func() // ends it; nil: it does not flap
}

// newControl is what serves them.
func newControl(l *link.Link) http.Handler {
	c := &control{Link: l}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		s := state{Whole: l.Whole()}
		s.There.Direction, s.Back.Direction = l.Is()
		s.There.Carried, s.Back.Carried = l.Carried()
		_ = json.NewEncoder(w).Encode(s)
	})
	mux.HandleFunc("POST /{order}", func(w http.ResponseWriter, r *http.Request) {
		if err := c.do(r.PathValue("order"), r.URL.RawQuery); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	return mux
}

// state is what a link is like, and what it has carried.
type state struct {
	Whole       bool
	There, Back stateOf
}

type stateOf struct {
	link.Direction
	Carried int64
}

func (c *control) do(order, query string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("cannot read %q: %w", query, err)
	}
	there, back := c.Is()
	switch order {
	case "cut":
		c.settle()
		c.Cut()
	case "mend":
		c.settle()
		c.Mend(values.Get("forgetful") == "true")
	case "flap":
		least, err := time.ParseDuration(values.Get("least"))
		most, err2 := time.ParseDuration(values.Get("most"))
		if err != nil || err2 != nil || least <= 0 || most < least {
			return fmt.Errorf("cannot flap by %q: want least=1s&most=3s", query)
		}
		c.settle()
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			c.Flap(least, most, stop)
		}()
		c.flap = func() { close(stop); <-done }
	case "there":
		if there, err = parse(there, query); err == nil {
			c.Set(there, back)
		}
	case "back":
		if back, err = parse(back, query); err == nil {
			c.Set(there, back)
		}
	default:
		err = fmt.Errorf("cannot %q: want cut, mend, flap, there or back", order)
	}
	return err
}

// settle ends a flapping.
func (c *control) settle() {
	if c.flap != nil {
		c.flap()
		c.flap = nil
	}
}

// parse is a direction with what is different in it.
func parse(d link.Direction, differs string) (link.Direction, error) {
	values, err := url.ParseQuery(differs)
	for name, v := range values {
		switch name {
		case "delay":
			d.Delay, err = time.ParseDuration(v[0])
		case "rate":
			d.Rate, err = strconv.ParseInt(v[0], 10, 64)
		case "queue":
			d.Queue, err = strconv.Atoi(v[0])
		case "loss":
			d.Loss, err = strconv.ParseFloat(v[0], 64)
		default:
			err = fmt.Errorf("no %q: want delay, rate, queue or loss", name)
		}
		if err != nil {
			break
		}
	}
	if err != nil {
		return d, fmt.Errorf("cannot read %q: %w", differs, err)
	}
	return d, nil
}
