package service

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/akubra/akubra/internal/testkit"
)

// TestR22CertificateFollowsItsFiles: what is written to the files is used without anybody
// asking; what cannot be used is told once, and the old certificate stays.
func TestR22CertificateFollowsItsFiles(t *testing.T) {
	t.Parallel()
	dir, said := t.TempDir(), testkit.NewTranscript()
	log := zerolog.New(said)
	certFile, keyFile := testkit.MustWritePair(t, dir, "localhost")
	c, err := newCertificate(certFile, keyFile, &log)
	testkit.MustDo(t, err)
	c.interval = time.Millisecond
	c.start()
	defer c.close()
	served := func() []byte {
		pair, err := c.get(nil)
		testkit.MustDo(t, err)
		return pair.Certificate[0]
	}
	follows := func() {
		t.Helper()
		want := testkit.MustLoadPair(t, certFile, keyFile).Certificate[0]
		testkit.Eventually(t, "the new certificate is used", func() bool { return slices.Equal(served(), want) })
	}
	follows()
	testkit.MustWritePair(t, dir, "localhost")
	follows()

	told := func() int { return strings.Count(said.String(), "cannot reload the certificate: the old one stays") }
	for _, broken := range []string{"", "nonsense", testkit.MustReadFile(t, otherCert(t))} { // the last one is another key's
		old, before := served(), told()
		testkit.MustDo(t, os.WriteFile(certFile, []byte(broken), 0o600))
		testkit.Eventually(t, "the mistake is told", func() bool { return told() > before })
		for range 3 { // looks more
			c.reload()
		}
		if !slices.Equal(served(), old) {
			t.Fatalf("with %q the old one does not stay", broken)
		}
		testkit.MustWritePair(t, dir, "localhost")
		follows()
	}
}

func otherCert(t *testing.T) string {
	certFile, _ := testkit.MustWritePair(t, t.TempDir(), "localhost")
	return certFile
}

// TestR22ClientCertificate: a backend that asks for a certificate gets the current one, and
// none where it would not take it.
func TestR22ClientCertificate(t *testing.T) {
	t.Parallel()
	log := zerolog.Nop()
	certFile, keyFile := testkit.MustWritePair(t, t.TempDir(), "proxy")
	c, err := newCertificate(certFile, keyFile, &log)
	testkit.MustDo(t, err)
	leaf, err := x509.ParseCertificate(c.current.Load().Certificate[0])
	testkit.MustDo(t, err)
	asked := tls.CertificateRequestInfo{Version: tls.VersionTLS13, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}}
	for name, want := range map[string]bool{string(leaf.RawIssuer): true, "other": false} {
		asked.AcceptableCAs = [][]byte{[]byte(name)}
		pair, err := c.getClient(&asked)
		if err != nil || len(pair.Certificate) > 0 != want {
			t.Errorf("asked for one of %q: %d certificates, %v", name, len(pair.Certificate), err)
		}
	}
	if _, err := newCertificate(filepath.Join(t.TempDir(), "none"), keyFile, &log); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("files that are not there: %v", err)
	}
}
