package linear

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/words"
)

// full has the proxy killed more often.
var full = flag.Bool("full", false, "torture in full size: minutes")

// livesOfKey is for how many lives of the proxy a key is written.
const livesOfKey = 4

// process is a world whose proxy is the binary, as an operator runs it, and is killed over and over.
type process struct {
	*world
	path, file string
	said       *testkit.Transcript
	cmd        *exec.Cmd
	lives      atomic.Int64
}

func newProcess(t *testing.T, path string, seed uint64, policy, ack string) *process {
	t.Helper()
	p := &process{path: path, world: &world{
		t: t, begun: time.Now(), ended: map[string]int{}, goesOn: "c",
		client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: clients}},
	}}
	dir, listen := t.TempDir(), testkit.MustFreeAddr(t)
	p.url = "http://" + listen
	text := fmt.Sprintf(`Listen: %s
AdminListen: %s
DataDir: %q
ReadPolicy: %s
WriteAck: %s
Credentials: {AccessKey: key, SecretKey: secret}
Repair: {Enabled: true}
Logging: {Synclog: {Stderr: false, File: %q}}
Backends:
`, listen, testkit.MustFreeAddr(t), filepath.Join(dir, "data"), policy, ack, filepath.Join(dir, "sync.log"))
	for i := range uint64(2) {
		b := newBackend(t, seed+i)
		b.befall(slow) // so that much is under way when it is killed
		p.backends = append(p.backends, b)
		text += "  - http://" + b.addr + "\n"
	}
	p.file = filepath.Join(dir, "akubra.yaml")
	testkit.MustDo(t, os.WriteFile(p.file, []byte(text), 0o600))
	p.start()
	t.Cleanup(func() {
		p.client.CloseIdleConnections()
		p.kill()
		if t.Failed() {
			t.Logf("the proxy said:\n%s", p.said)
		}
	})
	return p
}

func (p *process) start() {
	p.said = testkit.NewTranscript()
	p.cmd = exec.Command(p.path, "-c", p.file)
	p.cmd.Stderr = p.said
	testkit.MustDo(p.t, p.cmd.Start())
	p.said.WaitFor(p.t, "akubra is ready")
	p.event("the proxy runs")
	p.lives.Add(1)
}

// kill is kill -9. What was on its way to a backend has arrived once it returns: what came later
// nobody could tell from a newer write.
func (p *process) kill() {
	p.event("the proxy is killed")
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	for _, b := range p.backends {
		testkit.Eventually(p.t, "each connection to a backend has ended", func() bool { return b.open.Load() == 0 })
	}
	if strings.Contains(p.said.String(), "panic") {
		p.t.Errorf("the proxy said:\n%s", p.said)
	}
}

// written is how many writes have been acknowledged.
func (p *process) written() (plain, conditional int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[1][done], p.count[2][done]
}

// torture has clients act, and kills the proxy meanwhile.
func (p *process) torture(seed uint64, lives int, act func(client int, random *rand.Rand)) {
	random := rand.New(rand.NewPCG(seed, clients))
	p.playWhile(seed, act, func() {
		for range lives {
			plain, conditional := p.written()
			testkit.Eventually(p.t, "writes of this life are acknowledged", func() bool {
				plainNow, conditionalNow := p.written()
				return plainNow > plain && conditionalNow > conditional+1
			})
			time.Sleep(time.Duration(random.Int64N(int64(between)))) // it is killed at any moment
			p.kill()
			p.start()
		}
	})
}

// R29, R30: conditional writes and reads of the binary are linearizable over kill -9, whatever has
// become of the writes that were under way; so are plain ones of one writer up to the first of which
// nobody knows.
func TestR29TortureConditionalWritesOverKills(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "akubra")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/akubra/akubra").CombinedOutput(); err != nil {
		t.Fatalf("cannot build: %v\n%s", err, out)
	}
	lives := 4
	if *full {
		lives = 40
	}
	for _, policy := range []string{words.ReadAll, words.ReadPrefer} {
		for _, ack := range []string{words.AckFirst, words.AckQuorum} {
			t.Run(policy+" "+ack, func(t *testing.T) {
				t.Parallel()
				seed := rand.Uint64()
				p := newProcess(t, path, seed, policy, ack)
				p.torture(seed, lives, func(client int, random *rand.Rand) {
					if random.IntN(4) == 0 { // plain: each client writes one key, all read it
						own := fmt.Sprintf("p%d", client)
						if random.IntN(2) == 0 {
							p.do(client, action{key: p.key(fmt.Sprintf("p%d", random.IntN(clients)))})
						} else {
							p.do(client, action{key: p.key(own), write: true, value: p.value(client)})
						}
						return
					}
					// Other keys after some lives: what is unknown stays so, and takes ever longer to check.
					key := fmt.Sprintf("c%d-of-%d", random.IntN(keys), p.lives.Load()/livesOfKey)
					seen := p.do(client, action{key: key})
					if seen.verdict != done || random.IntN(2) == 0 {
						return
					}
					a := action{key: key, write: true, value: p.value(client), match: seen.value, absent: seen.value == ""}
					if seen.value != "" && random.IntN(4) == 0 {
						a.value = ""
					}
					p.do(client, a)
				})
				p.check(seed)
			})
		}
	}
}
