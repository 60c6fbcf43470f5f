package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

func newResults(o *options, args []string) *Results {
	secret := ""
	if len(o.targets) > 0 {
		secret = o.targets[0].secretKey
	}
	return &Results{Schema: resultSchema, Started: time.Now(), Command: hideSecrets(args, secret), Machine: thisMachine(), Versions: versions(o)}
}

// runCases measures and prints the tables.
func (o *options) runCases(ctx context.Context, rs *Results, cases []Case) error {
	err := o.measureAll(ctx, rs, o.rounds, cases, func(*Case) []string { return o.peers })
	if len(rs.Runs) > 0 {
		printTable(o.out, rs.Runs)
		printRatios(o.out, rs.Runs)
	}
	return errors.Join(err, wrong(rs.Runs))
}

// wrong is an error if a run's figures do not add up.
func wrong(runs []*Run) error {
	for _, r := range runs {
		if r.Wrong != "" {
			return fmt.Errorf("%s with %s does not add up: %s", r.Peer, &r.Case, r.Wrong)
		}
	}
	return nil
}

// measureAll drives every peer with every case in every round, one at a time. The peers of a case
// follow each other directly, in an order that changes with the round, so that a machine that is busy
// for a while is busy for all of them.
func (o *options) measureAll(ctx context.Context, rs *Results, rounds int, cases []Case, peers func(*Case) []string) error {
	most := 0
	for i := range cases {
		if cases[i].Fault != "" && cases[i].Backends < 2 {
			return fmt.Errorf("cannot measure %s: with a backend that fails there must be another", &cases[i])
		}
		most = max(most, cases[i].Backends)
	}
	stores, err := startBackends(most)
	defer func() {
		for _, s := range stores {
			s.stop()
		}
	}()
	if err != nil {
		return err
	}
	missing := map[string]bool{}
	for round := range rounds {
		for i := range cases {
			c := &cases[i]
			for j, of := 0, peers(c); j < len(of); j++ {
				peer := of[(j+round)%len(of)]
				if missing[peer] || !c.Way.drives(peer) {
					continue
				}
				r, err := o.measure(ctx, c, peer, round, stores)
				if errors.Is(err, errNotInstalled) {
					fmt.Fprintf(o.log, "%s is not installed: left out\n", peer)
					missing[peer] = true
					continue
				}
				if ctx.Err() != nil {
					return errors.New("interrupted")
				}
				if err != nil {
					return fmt.Errorf("cannot measure %s with %s: %w", peer, c, err)
				}
				fmt.Fprintf(o.log, "%d/%d %s\n", round+1, rounds, r.line())
				rs.Runs = append(rs.Runs, r)
			}
		}
	}
	return nil
}

func startBackends(n int) ([]*process, error) {
	var stores []*process
	for range n {
		s, err := startBackend()
		if err != nil {
			return stores, err
		}
		stores = append(stores, s)
	}
	return stores, nil
}

// group is a case with its runs, by peer, in the order of rounds.
type group struct {
	c     *Case
	peers []string // in the order of peerNames; targets as they were given
	runs  map[string][]*Run
}

// areTargets reports whether peers are a user's own, one of which may have a peer's name.
func areTargets(peers []string) bool {
	return slices.ContainsFunc(peers, func(p string) bool { return !slices.Contains(peerNames, p) })
}

// groups groups runs by case, in the order of each case's first run.
func groups(runs []*Run) []*group {
	var all []*group
	by := map[string]*group{}
	for _, r := range runs {
		g := by[r.Case.String()]
		if g == nil {
			g = &group{c: &r.Case, runs: map[string][]*Run{}}
			by[r.Case.String()] = g
			all = append(all, g)
		}
		if g.runs[r.Peer] == nil {
			g.peers = append(g.peers, r.Peer)
		}
		g.runs[r.Peer] = append(g.runs[r.Peer], r)
	}
	rank := func(peer string) int { return slices.Index(peerNames, peer) }
	for _, g := range all {
		if !areTargets(g.peers) {
			slices.SortStableFunc(g.peers, func(a, b string) int { return rank(a) - rank(b) })
		}
	}
	return all
}
