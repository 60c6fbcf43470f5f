package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

var errNotInstalled = errors.New("not installed")

// startPeer starts what is to be driven in front of the storages.
func startPeer(name string, o *options, stores []*process) (*process, error) {
	switch name {
	case "direct":
		return &process{addr: stores[0].addr}, nil
	case "nginx":
		return startNginx(stores)
	case "akubra":
		return startAkubra(o.proxy, stores)
	}
	return nil, fmt.Errorf("unknown peer %q: direct, nginx and akubra are known", name)
}

// startAkubra starts the proxy with its defaults: what a user has on is on.
func startAkubra(binary string, stores []*process) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	text := "Listen: " + addr + "\nAdminListen: " + admin + "\nConnLimit: 10000\nMaxConcurrentRequests: 10000\nBackends:\n"
	for _, s := range stores {
		text += "  - http://" + s.addr + "\n"
	}
	return start(addr, map[string]string{"akubra.yaml": text}, func(dir string) *exec.Cmd {
		return exec.Command(binary, "-c", filepath.Join(dir, "akubra.yaml"))
	})
}

// startNginx starts nginx's mirror module, one mirror a further storage.
func startNginx(stores []*process) (*process, error) {
	binary, err := exec.LookPath("nginx")
	if err != nil {
		if binary = "/usr/sbin/nginx"; !isFile(binary) {
			return nil, errNotInstalled
		}
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return start(addr, map[string]string{"nginx.conf": nginxConfig(addr, stores)}, func(dir string) *exec.Cmd {
		return exec.Command(binary, "-p", dir+"/", "-c", "nginx.conf")
	})
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func nginxConfig(addr string, stores []*process) string {
	var upstreams, mirrors, locations strings.Builder
	for i, s := range stores {
		fmt.Fprintf(&upstreams, "upstream store%d { server %s; keepalive 256; keepalive_requests 100000000; }\n", i, s.addr)
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
	user := ""
	if os.Getuid() == 0 {
		// The workers would run as somebody who cannot write to the folder.
		user = "user root;\n"
	}
	return user + `worker_processes 2;
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
listen ` + addr + ` backlog=4096;
location / {
` + mirrors.String() + `proxy_pass http://store0;
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_set_header Host $http_host;
}
` + locations.String() + `}
}
`
}

// start writes a peer's files, starts it, and waits until it listens.
func start(addr string, files map[string]string, command func(dir string) *exec.Cmd) (*process, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := command(dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	p := &process{cmd: cmd, addr: addr, dir: dir}
	for deadline := time.Now().Add(10 * time.Second); ; {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			_ = nc.Close()
			return p, nil
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(filepath.Join(dir, "log"))
			p.stop()
			return nil, fmt.Errorf("it does not listen: %s", said)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}
