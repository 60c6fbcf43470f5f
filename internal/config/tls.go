package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// TLSConfig is the listener's certificate and the TLS settings for https:// backends.
type TLSConfig struct {
	CertFile   string           `koanf:"CertFile"`
	KeyFile    string           `koanf:"KeyFile"`
	MinVersion string           `koanf:"MinVersion"` // of clients; see tlsVersions
	Backends   TLSBackendConfig `koanf:"Backends"`
}

// TLSBackendConfig are the TLS settings for all https:// backends that have none of their own.
type TLSBackendConfig struct {
	CAFile             string `koanf:"CAFile"` // empty means the system's
	InsecureSkipVerify bool   `koanf:"InsecureSkipVerify"`
	ClientCertFile     string `koanf:"ClientCertFile"`
	ClientKeyFile      string `koanf:"ClientKeyFile"`
	MinVersion         string `koanf:"MinVersion"`
}

// BackendTLSConfig are the TLS settings of one backend, which replace all those in TLS.Backends.
type BackendTLSConfig struct {
	Backend            string `koanf:"Backend"` // one of Backends
	CAFile             string `koanf:"CAFile"`
	InsecureSkipVerify bool   `koanf:"InsecureSkipVerify"`
	ClientCertFile     string `koanf:"ClientCertFile"`
	ClientKeyFile      string `koanf:"ClientKeyFile"`
	MinVersion         string `koanf:"MinVersion"`
}

func (b *BackendTLSConfig) settings() TLSBackendConfig {
	return TLSBackendConfig{
		CAFile: b.CAFile, InsecureSkipVerify: b.InsecureSkipVerify,
		ClientCertFile: b.ClientCertFile, ClientKeyFile: b.ClientKeyFile, MinVersion: b.MinVersion,
	}
}

// TLSOf returns the TLS settings of one backend, by index, and the key where they stand.
func (c *Config) TLSOf(backend int) (key string, settings TLSBackendConfig) {
	for i := range c.BackendTLS {
		if sameBackend(c.BackendTLS[i].Backend, c.Backends[backend]) {
			return element("BackendTLS", i), c.BackendTLS[i].settings()
		}
	}
	return "TLS.Backends", c.TLS.Backends
}

// ClientTLS returns the TLS configuration for one backend, by index; ServerName still has to be set.
func (c *Config) ClientTLS(backend int) (*tls.Config, error) {
	_, settings := c.TLSOf(backend)
	return settings.Client()
}

// minTLS is the default of MinVersion. Older ones are broken (RFC 8996).
const minTLS = "1.2"

// tlsVersions are what MinVersion may be.
var tlsVersions = map[string]uint16{minTLS: tls.VersionTLS12, "1.3": tls.VersionTLS13}

// Listener returns the listener's TLS configuration, or nil for plain HTTP.
func (t *TLSConfig) Listener() (*tls.Config, error) {
	if t.CertFile == "" && t.KeyFile == "" {
		return nil, nil
	}
	cert, err := loadKeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cannot use certificate %q with key %q: %w", t.CertFile, t.KeyFile, err)
	}
	return &tls.Config{MinVersion: tlsVersions[t.MinVersion], NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{cert}}, nil
}

// Client returns the TLS configuration of these settings; ServerName still has to be set.
func (t *TLSBackendConfig) Client() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tlsVersions[t.MinVersion], InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CAFile != "" {
		var err error
		if conf.RootCAs, err = loadCAs(t.CAFile); err != nil {
			return nil, fmt.Errorf("cannot use CA file %q: %w", t.CAFile, err)
		}
	}
	if t.ClientCertFile != "" || t.ClientKeyFile != "" {
		cert, err := loadKeyPair(t.ClientCertFile, t.ClientKeyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use client certificate %q with key %q: %w", t.ClientCertFile, t.ClientKeyFile, err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// maxPEMSize is far larger than any bundle of certificates.
const maxPEMSize = 4 << 20

// readPEM reads a file of certificates or keys.
func readPEM(path string) ([]byte, error) { return readRegular(path, maxPEMSize) }

func loadKeyPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := readPEM(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readPEM(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// isDER explains what OpenSSL can write instead of PEM.
const isDER = "it is DER, not PEM: openssl x509 -inform DER -in FILE -out FILE.pem converts it"

// pairProblem says why a certificate and its key cannot be used, and whether that is the key's fault; ""
// if they can be. The library's own words do not name a passphrase, or the wrong order of a chain.
func pairProblem(certFile, keyFile string) (ofKey bool, problem string) {
	_, err := loadKeyPair(certFile, keyFile)
	if err == nil {
		return false, ""
	}
	key, _ := readPEM(keyFile) // a second time; err has what is wrong with it
	for block, rest := pem.Decode(key); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return true, "it has a passphrase: openssl pkey -in FILE -out FILE.pem takes it off"
		}
	}
	if cert, _ := readPEM(certFile); isCertificate(cert) {
		return false, isDER
	}
	all, _ := Certificates(certFile)
	for _, c := range all {
		if _, err := tls.X509KeyPair(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), key); err == nil {
			return false, "it is not the first one in the file: the others, which have signed it, come after it"
		}
	}
	for _, words := range []string{"key input", "rather than a key", "parse private key"} {
		ofKey = ofKey || strings.Contains(err.Error(), words)
	}
	return ofKey, err.Error()
}

func isCertificate(der []byte) bool {
	_, err := x509.ParseCertificate(der)
	return err == nil
}

// Certificates reads the certificates in a PEM file. Anything else in it, and what cannot be
// parsed, is left out.
func Certificates(path string) (all []*x509.Certificate, err error) {
	text, err := readPEM(path)
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); block.Type == "CERTIFICATE" && err == nil {
			all = append(all, c)
		}
	}
	return all, err
}

func loadCAs(path string) (*x509.CertPool, error) {
	pem, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if isCertificate(pem) {
		return nil, errors.New(isDER)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("it contains no certificate")
	}
	return pool, nil
}

func (m *mistakes) checkTLSVersion(path, version string) {
	if tlsVersions[version] == 0 {
		m.add(path, version, "one of %s", strings.Join(slices.Sorted(maps.Keys(tlsVersions)), ", "))
	}
}

// checkClientTLS checks the TLS settings of one backend, or of all.
func (m *mistakes) checkClientTLS(path string, c TLSBackendConfig) {
	if at := join(path, "CAFile"); c.CAFile != "" && m.mayOpen(at) {
		if _, err := loadCAs(c.CAFile); err != nil {
			m.add(at, c.CAFile, "a file of PEM certificates: %v", err)
		}
	}
	m.checkPair(join(path, "ClientCertFile"), c.ClientCertFile, join(path, "ClientKeyFile"), c.ClientKeyFile)
	m.checkTLSVersion(join(path, "MinVersion"), c.MinVersion)
}

func (m *mistakes) checkBackendTLS(all []BackendTLSConfig, backends []string) {
	seen := map[string]string{}
	for i := range all {
		c, path := &all[i], element("BackendTLS", i)
		which := slices.IndexFunc(backends, func(b string) bool { return sameBackend(b, c.Backend) })
		switch {
		case m.broken[path]:
			continue
		case len(backends) == 0: // reported already
		case which < 0:
			m.add(join(path, "Backend"), c.Backend, "one of Backends")
		case !isTLS(backends[which]):
			m.add(join(path, "Backend"), c.Backend, "a backend with https://")
		case seen[backends[which]] != "":
			m.add(join(path, "Backend"), c.Backend, "another backend than %s", seen[backends[which]])
		default:
			seen[backends[which]] = path
		}
		m.checkClientTLS(path, c.settings())
	}
}

func isTLS(backend string) bool { return strings.HasPrefix(strings.ToLower(backend), "https:") }
