package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

var peerNames = []string{"direct", "nginx-proxy", "akubra-near", "nginx", "akubra"}

// drivesOne reports whether a peer has the first backend alone behind it.
func drivesOne(peer string) bool {
	return peer == "direct" || peer == "nginx-proxy" || peer == "akubra-near"
}

// startPeer starts what is to be driven in front of the backends.
func startPeer(name string, o *options, c *Case, stores []*process) (*process, error) {
	switch name {
	case "direct": // plain also where the others speak TLS: the cheapest there is
		return &process{addr: stores[0].addr}, nil
	case "nginx-proxy": // what a reverse proxy in front of one backend costs, to hold reads against
		return startNginx(c, stores[:1])
	case "nginx":
		return startNginx(c, stores)
	case "akubra-near": // the proxy without the others: what these cost its clients
		return startAkubra(o.proxy, c, stores[:1])
	case "akubra":
		return startAkubra(o.proxy, c, stores)
	}
	return nil, fmt.Errorf("unknown peer %q", name)
}

// startAkubra starts the proxy with its defaults: what a user has on is on. Only
// bounds that the case itself would break are widened.
func startAkubra(binary string, c *Case, stores []*process) (*process, error) {
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("cannot find the proxy: %w; build it first (make build), or name it with -proxy", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p, err := start(addr, akubraFiles(addr, admin, c, stores), func(dir string) *exec.Cmd {
		cmd := exec.Command(binary, "-c", "akubra.yaml")
		if abs, err := filepath.Abs(binary); err == nil {
			cmd.Path = abs
		}
		cmd.Dir = dir
		return cmd
	})
	if err == nil {
		p.admin = admin
	}
	return p, err
}

func akubraFiles(addr, admin string, c *Case, stores []*process) map[string][]byte {
	text := "Listen: " + addr + "\nAdminListen: " + admin + "\n"
	if n := c.Conns * c.Backends; n > 500 && c.Fault == "" {
		text += fmt.Sprintf("ConnLimit: %d\n", 2*n)
	}
	if c.Conns > 1000 {
		text += fmt.Sprintf("MaxConcurrentRequests: %d\n", c.Conns)
	}
	text += strings.Join(c.Config, "\n") + "\nBackends:\n"
	for _, s := range stores {
		text += "  - http://" + s.addr + "\n"
	}
	files := map[string][]byte{}
	if c.TLS {
		text += "TLS:\n  CertFile: cert.pem\n  KeyFile: key.pem\n"
		files["cert.pem"], files["key.pem"] = certPEM, keyPEM
	}
	files["akubra.yaml"] = []byte(text)
	return files
}

// startNginx starts nginx's mirror module, one mirror for each further backend.
func startNginx(c *Case, stores []*process) (*process, error) {
	binary, err := findBinary("nginx")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"nginx.conf": []byte(nginxConfig(addr, c, stores))}
	if c.TLS {
		files["cert.pem"], files["key.pem"] = certPEM, keyPEM
	}
	return start(addr, files, func(dir string) *exec.Cmd {
		return exec.Command(binary, "-p", dir+"/", "-c", "nginx.conf")
	})
}

func nginxConfig(addr string, c *Case, stores []*process) string {
	var upstreams, mirrors, locations strings.Builder
	for i, s := range stores {
		fmt.Fprintf(&upstreams, "upstream store%d { server %s; keepalive %d; keepalive_requests 100000000; }\n", i, s.addr, max(256, c.Conns))
		if i == 0 {
			continue
		}
		fmt.Fprintf(&mirrors, "mirror /_mirror%d;\n", i)
		fmt.Fprintf(&locations, `location = /_mirror%d {
  internal;
  proxy_pass http://store%d$request_uri;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
}
`, i, i)
	}
	user, tlsWord, tlsLines := "", "", ""
	if os.Getuid() == 0 {
		// The workers would run as somebody who cannot write to the folder.
		user = "user root;\n"
	}
	if c.TLS {
		tlsWord, tlsLines = " ssl", "ssl_certificate cert.pem;\nssl_certificate_key key.pem;\n"
	}
	return user + `worker_processes 2;
worker_rlimit_nofile 20000;
daemon off;
pid nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
access_log off;
client_max_body_size 0;
client_body_buffer_size 1m;
client_body_temp_path nginx-body;
proxy_temp_path nginx-proxy;
fastcgi_temp_path nginx-fastcgi;
uwsgi_temp_path nginx-uwsgi;
scgi_temp_path nginx-scgi;
keepalive_requests 100000000;
` + upstreams.String() + `
server {
listen ` + addr + tlsWord + ` backlog=4096;
` + tlsLines + `location / {
` + mirrors.String() + `proxy_pass http://store0;
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_set_header Host $http_host;
}
` + locations.String() + `}
}
`
}

// dialer connects to a peer.
func dialer(addr string, conf *tls.Config) func() (net.Conn, error) {
	plain := net.Dialer{Timeout: 10 * time.Second}
	if conf == nil {
		return func() (net.Conn, error) { return plain.Dial("tcp", addr) }
	}
	d := tls.Dialer{NetDialer: &plain, Config: conf}
	return func() (net.Conn, error) { return d.Dial("tcp", addr) }
}
