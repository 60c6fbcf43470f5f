package service

import (
	"os"
	"reflect"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/synclog/repair"
	"github.com/akubra/akubra/synclog/repair/client"
)

// signed is what sends requests of its own in this process, with keys: repair, and the probe of
// conditions. Both are made from what does not change, and replaced when something has changed
// (R22).
type signed struct {
	repairChanged, probeChanged bool
	optionsChanged              bool             // of repair, and not only TLS
	repairer                    *repair.Repairer // nil: the proxy does not repair
	probe                       *conditionsProbe // nil: there is none

	// What they are made from, without TLS.
	repairOf repair.Options
	probeOf  probeOptions
}

type probeOptions struct {
	bucket   string
	backends []client.Options
	unsigned []string
}

// prepareSigned makes what c needs and the proxy does not have yet; newTLS says that TLS has
// changed for a backend. Nothing is started. Exactly one of commit and cancel must follow.
func (p *Proxy) prepareSigned(c *config.Config, newTLS bool) (next signed, err error) {
	environ := os.Environ()
	if on, _ := c.Repairs(environ); on {
		o, err := RepairOptions(c, environ)
		if err != nil {
			return signed{}, err
		}
		next.repairOf = o
		next.repairOf.Backends = nil
		for _, b := range o.Backends {
			b.TLS = nil
			next.repairOf.Backends = append(next.repairOf.Backends, b)
		}
		next.optionsChanged = !reflect.DeepEqual(next.repairOf, p.signed.repairOf)
		if next.repairChanged = newTLS || next.optionsChanged; next.repairChanged {
			if next.repairer, err = p.newRepairer(o); err != nil {
				return signed{}, err
			}
		}
	} else {
		next.repairChanged = p.repairer.Load() != nil
		next.optionsChanged = next.repairChanged
	}
	next.probeOf.bucket = c.ProbeBucket
	if c.ProbeBucket != "" {
		if next.probeOf.backends, next.probeOf.unsigned, err = onlineBackends(c, environ); err != nil {
			next.cancel()
			return signed{}, err
		}
		for i := range next.probeOf.backends {
			next.probeOf.backends[i].TLS = nil
		}
	}
	if next.probeChanged = newTLS || !reflect.DeepEqual(next.probeOf, p.signed.probeOf); next.probeChanged {
		if next.probe, err = p.newProbe(c); err != nil {
			next.cancel()
			return signed{}, err
		}
	}
	return next, nil
}

// commit replaces what the proxy has by it, and starts it. The caller holds committing.
func (next *signed) commit(p *Proxy) {
	if next.repairChanged {
		old := p.repairer.Load()
		if old != nil {
			old.Close()
		} else if next.repairer != nil && p.journalAdmin != nil {
			p.journalAdmin.End() // two repairs would do each other's work
		}
		p.repairer.Store(next.repairer)
		if next.repairer != nil {
			next.repairer.Start()
		}
		p.signed.repairOf = next.repairOf
	}
	if next.probeChanged {
		if p.probe != nil {
			p.probe.close()
		}
		if p.probe = next.probe; p.probe != nil {
			p.probe.start()
		}
		p.signed.probeOf = next.probeOf
	}
}

func (next *signed) cancel() {
	if next.repairer != nil {
		next.repairer.CloseIdle()
	}
	if next.probe != nil {
		next.probe.close()
	}
}
