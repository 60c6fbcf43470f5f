// Package words declares, once each, the words that travel as strings between packages that do not
// know each other: from the configuration to the engine, and from the limiter to the engine,
// metrics and operators. They are constants, and users see them.
package words

// How many backends must have accepted a write before the client is told so (WriteAck, R3).
const (
	AckFirst  = "first"
	AckQuorum = "quorum"
	AckAll    = "all"
)

// The states of a backend (R13, R14).
const (
	StateActive     = "active"
	StateDemoted    = "demoted"
	StateMaintained = "maintained" // demoted or not
)

// Which backends are asked for a read (ReadPolicy, R30).
const (
	ReadAll     = "all"
	ReadPrefer  = "prefer"
	ReadSpread  = "spread"
	ReadFastest = "fastest"
)

// When another backend is asked for a read as well (HedgeAfter, R30), besides after a fixed time.
const (
	HedgeOff = "off"
	HedgeP95 = "p95"
)

// What happens to a read if the only backends that can answer it lack the newest write (StaleReads,
// R30).
const (
	StaleRefuse = "refuse"
	StaleAllow  = "allow"
)
