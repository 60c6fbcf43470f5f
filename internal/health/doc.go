// Package health keeps why each backend fails, so that an operator is told (R36): at the
// first failure, then at most once a minute with a count, and when it is over; what is
// going on, and the last error, can be asked for at any time.
//
// What comes in is what the engine hears of backends (Well, Unwell), what the synclog is
// told (Denied), what probes find (Reached, Unreached), and once a second the limiter's
// look at what is waited for (Look). It is sorted into a few causes, by which metrics and
// alerts go; the words are those of the error.
//
// Health does no I/O. Any goroutine may call its methods; Well, which is on the way of each
// request, is a load where all is well. Options.Failing and Over are called with no lock
// held, by whoever brought the news, and must not wait.
package health
