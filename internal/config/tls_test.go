package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/akubra/akubra/internal/testkit"
)

// mustWritePair makes a self-signed certificate and its key.
func mustWritePair(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.MustDo(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	testkit.MustDo(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	testkit.MustDo(t, err)
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		testkit.MustDo(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
	return certFile, keyFile
}

func TestConfigTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := mustWritePair(t, dir, "one")
	otherCert, _ := mustWritePair(t, dir, "two")

	c := mustParseConfig(t, twoBackends)
	if conf, err := c.TLS.Listener(); conf != nil || err != nil {
		t.Errorf("listener without TLS = %v, %v", conf, err)
	}
	if conf, err := c.TLS.Backends.Client(); err != nil || conf.RootCAs != nil || conf.Certificates != nil || conf.InsecureSkipVerify {
		t.Errorf("client by default = %+v, %v", conf, err)
	}

	c = mustParseConfig(t, twoBackends,
		"AKUBRA_TLS_CERTFILE="+cert, "AKUBRA_TLS_KEYFILE="+key, "AKUBRA_TLS_BACKENDS_CAFILE="+otherCert,
		"AKUBRA_TLS_BACKENDS_CLIENTCERTFILE="+cert, "AKUBRA_TLS_BACKENDS_CLIENTKEYFILE="+key)
	if conf, err := c.TLS.Listener(); err != nil || len(conf.Certificates) != 1 {
		t.Errorf("listener = %+v, %v", conf, err)
	}
	if conf, err := c.TLS.Backends.Client(); err != nil || len(conf.Certificates) != 1 || conf.RootCAs == nil {
		t.Errorf("client = %+v, %v", conf, err)
	}

	for name, tc := range map[string]struct {
		variables []string
		want      []string // how the lines start and end
	}{
		"no key":         {[]string{"CERTFILE=" + cert}, []string{"TLS.KeyFile: ", "must be the key of TLS.CertFile"}},
		"no certificate": {[]string{"KEYFILE=" + key}, []string{"TLS.CertFile: ", "must be the certificate of TLS.KeyFile"}},
		"other key":      {[]string{"CERTFILE=" + otherCert, "KEYFILE=" + key}, []string{"TLS.CertFile ", "does not match public key"}},
		"no client key":  {[]string{"BACKENDS_CLIENTCERTFILE=" + cert}, []string{"TLS.Backends.ClientKeyFile: ", "must be the key of TLS.Backends.ClientCertFile"}},
		"no files": {[]string{"CERTFILE=" + dir, "KEYFILE=" + key + "s"}, []string{
			"TLS.CertFile ", "not a regular file", "TLS.KeyFile ", "no such file or directory"}},
		"no CA":         {[]string{"BACKENDS_CAFILE=" + key}, []string{"TLS.Backends.CAFile ", "it contains no certificate"}},
		"no CA's file":  {[]string{"BACKENDS_CAFILE=" + key + "s"}, []string{"TLS.Backends.CAFile ", "no such file or directory"}},
		"endless files": {[]string{"BACKENDS_CAFILE=/dev/zero"}, []string{"TLS.Backends.CAFile ", "not a regular file"}},
	} {
		t.Run(name, func(t *testing.T) {
			var environ []string
			for _, v := range tc.variables {
				environ = append(environ, "AKUBRA_TLS_"+v)
			}
			lines := configMistakes(t, twoBackends, environ...)
			if len(lines) != len(tc.want)/2 {
				t.Fatalf("mistakes: %q", lines)
			}
			for i, line := range lines {
				if !strings.HasPrefix(line, tc.want[2*i]) || !strings.HasSuffix(line, tc.want[2*i+1]) {
					t.Errorf("mistake %q is not %q … %q", line, tc.want[2*i], tc.want[2*i+1])
				}
			}
		})
	}
}

// Each backend has the settings of its own entry, wholly, or those of all.
func TestBackendTLS(t *testing.T) {
	dir := t.TempDir()
	ca, _ := mustWritePair(t, dir, "ca")
	cert, key := mustWritePair(t, dir, "client")
	const backends = "Backends: ['https://one:1', 'https://two:2', 'http://three:3']\n"
	c := mustParseConfig(t, backends+"TLS: {MinVersion: 1.3, CertFile: "+cert+", KeyFile: "+key+", Backends: {CAFile: "+ca+", InsecureSkipVerify: true}}\n"+
		"BackendTLS: [{Backend: 'https://TWO:2', ClientCertFile: "+cert+", ClientKeyFile: "+key+", MinVersion: 1.3}]\n")
	one, err := c.ClientTLS(0)
	if err != nil || one.RootCAs == nil || !one.InsecureSkipVerify || one.Certificates != nil || one.MinVersion != tls.VersionTLS12 {
		t.Errorf("of all: %+v, %v", one, err)
	}
	two, err := c.ClientTLS(1)
	if err != nil || two.RootCAs != nil || two.InsecureSkipVerify || len(two.Certificates) != 1 || two.MinVersion != tls.VersionTLS13 {
		t.Errorf("its own: %+v, %v", two, err)
	}
	if listener, err := c.TLS.Listener(); err != nil || listener.MinVersion != tls.VersionTLS13 {
		t.Errorf("listener: %+v, %v", listener, err)
	}
	for text, want := range map[string]string{
		"BackendTLS: [{Backend: 'https://other'}]":                               "BackendTLS[0].Backend: \"https://other\" is not allowed, must be one of Backends",
		"BackendTLS: [{Backend: 'http://three:3'}]":                              "BackendTLS[0].Backend: \"http://three:3\" is not allowed, must be a backend with https://",
		"BackendTLS: [{Backend: 'https://one:1'}, {Backend: 'https://one:1'}]":   "BackendTLS[1].Backend: \"https://one:1\" is not allowed, must be another backend than BackendTLS[0]",
		"BackendTLS: [{Backend: 'https://one:1', MinVersion: 1.1}]":              "BackendTLS[0].MinVersion: \"1.1\" is not allowed, must be one of 1.2, 1.3",
		"BackendTLS: [{Backend: 'https://one:1', CAFile: " + key + "}]":          "BackendTLS[0].CAFile: \"" + key + "\" is not allowed, must be a file of PEM certificates: it contains no certificate",
		"BackendTLS: [{Backend: 'https://one:1', CaFile: x}]":                    "BackendTLS[0].CaFile: unknown key, the nearest known one is BackendTLS[0].CAFile",
		"BackendTLS: [{Backend: 'https://one:1', ClientCertFile: " + cert + "}]": "BackendTLS[0].ClientKeyFile: \"\" is not allowed, must be the key of BackendTLS[0].ClientCertFile",
		"TLS: {MinVersion: '1.0'}":                                               "TLS.MinVersion: \"1.0\" is not allowed, must be one of 1.2, 1.3",
	} {
		if lines := configMistakes(t, backends+text+"\n"); len(lines) != 1 || !strings.HasSuffix(lines[0], want) {
			t.Errorf("%s: %q, want %q", text, lines, want)
		}
	}
}

// R21: what is wrong with a certificate or its key is said in words that lead to the right file.
func TestR21CertificateMistakes(t *testing.T) {
	dir := t.TempDir()
	cert, key := mustWritePair(t, dir, "one")
	other, _ := mustWritePair(t, dir, "two")
	mustRead := func(path string) []byte {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	mustWrite := func(name string, content []byte) (path string) {
		path = filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	block, _ := pem.Decode(mustRead(cert))
	der := mustWrite("one.der", block.Bytes)
	chain := mustWrite("chain", append(mustRead(other), mustRead(cert)...))
	encrypted := mustWrite("encrypted", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))
	older := mustWrite("older", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")}))
	empty := mustWrite("empty", nil)

	for _, tc := range []struct{ cert, key, ca, starts, ends string }{
		{cert, encrypted, "", "TLS.KeyFile", "it has a passphrase: openssl pkey -in FILE -out FILE.pem takes it off"},
		{cert, older, "", "TLS.KeyFile", "it has a passphrase: openssl pkey -in FILE -out FILE.pem takes it off"},
		{cert, cert, "", "TLS.KeyFile", "tls: found a certificate rather than a key in the PEM for the private key"},
		{cert, empty, "", "TLS.KeyFile", "tls: failed to find any PEM data in key input"},
		{der, key, "", "TLS.CertFile", isDER},
		{chain, key, "", "TLS.CertFile", "it is not the first one in the file: the others, which have signed it, come after it"},
		{other, key, "", "TLS.CertFile", "tls: private key does not match public key"},
		{empty, key, "", "TLS.CertFile", "tls: failed to find any PEM data in certificate input"},
		{"", "", der, "TLS.Backends.CAFile", isDER},
		{"", "", empty, "TLS.Backends.CAFile", "it contains no certificate"},
	} {
		lines := configMistakes(t, twoBackends, "AKUBRA_TLS_CERTFILE="+tc.cert, "AKUBRA_TLS_KEYFILE="+tc.key, "AKUBRA_TLS_BACKENDS_CAFILE="+tc.ca)
		if len(lines) != 1 || !strings.HasPrefix(lines[0], tc.starts+" ") || !strings.HasSuffix(lines[0], ": "+tc.ends) {
			t.Errorf("%+v: %q", tc, lines)
		}
	}
}
