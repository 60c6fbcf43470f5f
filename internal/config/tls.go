package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// TLSConfig is the listener's certificate and the TLS settings for https:// backends.
type TLSConfig struct {
	CertFile string           `koanf:"CertFile"`
	KeyFile  string           `koanf:"KeyFile"`
	Backends TLSBackendConfig `koanf:"Backends"`
}

// TLSBackendConfig are the TLS settings for all https:// backends.
type TLSBackendConfig struct {
	CAFile             string `koanf:"CAFile"` // empty means the system's
	InsecureSkipVerify bool   `koanf:"InsecureSkipVerify"`
	ClientCertFile     string `koanf:"ClientCertFile"`
	ClientKeyFile      string `koanf:"ClientKeyFile"`
}

// Listener returns the listener's TLS configuration, or nil for plain HTTP.
func (t *TLSConfig) Listener() (*tls.Config, error) {
	if t.CertFile == "" && t.KeyFile == "" {
		return nil, nil
	}
	cert, err := loadKeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("cannot use certificate %q with key %q: %w", t.CertFile, t.KeyFile, err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{cert}}, nil
}

// Client returns the TLS configuration for https:// backends; ServerName still has to be set.
func (t *TLSBackendConfig) Client() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.InsecureSkipVerify}
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

// LoadKeyPair loads a certificate and its key, whose errors name the files.
func LoadKeyPair(certFile, keyFile string) (tls.Certificate, error) {
	pair, err := loadKeyPair(certFile, keyFile)
	if err != nil {
		return pair, fmt.Errorf("cannot use certificate %q with key %q: %w", certFile, keyFile, err)
	}
	return pair, nil
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

func loadCAs(path string) (*x509.CertPool, error) {
	pem, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("it contains no certificate")
	}
	return pool, nil
}
