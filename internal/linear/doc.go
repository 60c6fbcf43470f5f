// Package linear holds the whole proxy to linearizability (R29, R30). It has only tests.
//
// Clients write and read a few keys through one proxy, in front of backends in memory
// (internal/testkit/s3mem) that refuse, fail, forget to answer, freeze and come back behind.
// What each client asked for and was told, and when, is a history: porcupine looks for an order
// of its operations, one after another, that explains all of it
// (github.com/anishathalye/porcupine; Horn and Kroening, "Faster linearizability checking via
// P-compositionality", 2015). A checker of our own would have to be trusted as much as what it
// checks.
//
// Conditional writes and reads are linearizable under every ReadPolicy: where the binary is killed over and
// over (killed_test.go) whatever becomes of them, and where backends fail up to the first write of
// a key of which nobody was told what has become of it (docs/CONTRACT.md, "Not kept yet"). Plain
// writes that overlap may land in another order on each backend (R19), so that of these only
// writers that have a key to themselves are looked at, and that wait for legs that are late:
// whoever reads it sees the last value that was acknowledged, or one since.
package linear
