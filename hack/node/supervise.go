//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

//go:embed files
var files embed.FS

const (
	kubeconfigFile = "kubeconfig"
	startTimeout   = 2 * time.Minute
	restartDelay   = 500 * time.Millisecond
)

// fill creates the folder inside.
func fill(s settings) error {
	for _, dir := range []string{"bin", "cni/conf", "sysctl", "images", "etcd", "users"} {
		if err := os.MkdirAll(filepath.Join(inside, dir), 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{s.ControlPlane, s.Programs, s.Runtime + "/usr/bin", s.Runtime + "/usr/sbin"} {
		programs, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("programs not found, use a cache folder outside /run, /var and /opt: %w", err)
		}
		for _, p := range programs {
			err := os.Symlink(filepath.Join(dir, p.Name()), filepath.Join(inside, "bin", p.Name()))
			if err != nil && !errors.Is(err, fs.ErrExist) { // Debian's runc is in both folders
				return err
			}
		}
	}
	key, err := serviceAccountKey()
	if err != nil {
		return err
	}
	errs := []error{
		os.Symlink(s.Runtime+"/usr/lib/cni", inside+"/cni/bin"),
		os.WriteFile(inside+"/service-account.key", key, 0o600),
		os.WriteFile(inside+"/resolv.conf", nil, 0o644),
	}
	for name, path := range map[string]string{
		"containerd.toml": "containerd.toml", "kubelet.yaml": "kubelet.yaml", "tokens.csv": "tokens.csv", "node.conflist": "cni/conf/node.conflist",
	} {
		content, err := files.ReadFile("files/" + name)
		errs = append(errs, err, os.WriteFile(filepath.Join(inside, path), content, 0o600))
	}
	return errors.Join(errs...)
}

func serviceAccountKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}

// A supervisor starts the programs of the node.
type supervisor struct {
	settings settings
}

// supervise starts the programs of the node in their order. It returns only if one of
// them cannot be started.
func supervise(text string) error {
	v := &supervisor{}
	if err := json.Unmarshal([]byte(text), &v.settings); err != nil {
		return err
	}
	images := make(chan error, 1)
	go func() { images <- writeImages() }()
	const etcd = "http://127.0.0.1:2379"
	v.start("etcd", "--data-dir="+inside+"/etcd", "--unsafe-no-fsync",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=default=http://127.0.0.1:2380")
	v.start("containerd", "--config="+inside+"/containerd.toml")
	v.start("kube-apiserver", "--etcd-servers="+etcd, "--bind-address=0.0.0.0", "--secure-port=443", "--advertise-address="+nodeAddress,
		"--cert-dir="+inside+"/certificates", // the API server signs its certificate itself
		"--token-auth-file="+inside+"/tokens.csv", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range="+serviceCIDR, "--allow-privileged=true", "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+inside+"/service-account.key", "--service-account-signing-key-file="+inside+"/service-account.key")
	if err := within(startTimeout, "the API server is not ready", apiServerReady); err != nil {
		return err
	}
	if err := v.writeKubeconfigs(); err != nil {
		return err
	}
	v.start("kube-controller-manager", "--kubeconfig="+inside+"/users/controller-manager", "--leader-elect=false", "--use-service-account-credentials",
		"--service-account-private-key-file="+inside+"/service-account.key", "--root-ca-file="+issuer, "--bind-address=127.0.0.1")
	v.start("kube-scheduler", "--kubeconfig="+inside+"/users/scheduler", "--leader-elect=false", "--bind-address=127.0.0.1")
	if err := errors.Join(<-images, within(startTimeout, "containerd is not ready", func() error { return v.run("ctr", "version") })); err != nil {
		return err
	}
	for _, image := range []string{"pause", "operator"} {
		archive := filepath.Join(inside, "images", image)
		if err := errors.Join(v.run("ctr", "--namespace=k8s.io", "images", "import", archive), os.Remove(archive)); err != nil {
			return err
		}
	}
	v.start("kubelet", "--config="+inside+"/kubelet.yaml", "--kubeconfig="+inside+"/users/kubelet", "--root-dir="+inside+"/kubelet",
		"--cert-dir="+inside+"/kubelet-certificates", "--hostname-override="+nodeName, "--node-ip="+nodeAddress)
	select {} // the programs run until process 1 is killed
}

// issuer is the file with the certificate of the issuer of the API server's certificate.
const issuer = inside + "/issuer.crt"

func writeImages() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	for name, tag := range map[string]string{"pause": pauseImage, "operator": operatorImage} {
		out, err := os.Create(filepath.Join(inside, "images", name))
		if err != nil {
			return err
		}
		if err := errors.Join(writeImage(out, tag, program, name), out.Close()); err != nil {
			return err
		}
	}
	return nil
}

// start starts a program and starts it again whenever it has ended. The output goes to a
// file in the run folder.
func (v *supervisor) start(name string, args ...string) {
	go func() {
		for {
			err := v.run(name, args...)
			fmt.Printf("%s %s ended: %v\n", time.Now().Format(time.TimeOnly), name, err)
			time.Sleep(restartDelay)
		}
	}()
}

// run runs a program until it ends.
func (v *supervisor) run(name string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(v.settings.Run, name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(inside, "bin", name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(cmd.Run(), log.Close()); err != nil {
		return fmt.Errorf("%s: %w, see %s", name, err, log.Name())
	}
	return nil
}

// within calls f until f succeeds. After the timeout, it returns the last error.
func within(timeout time.Duration, problem string, f func() error) error {
	for deadline := time.Now().Add(timeout); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		switch {
		case err == nil:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s after %v: %w", problem, timeout, err)
		}
	}
}

func apiServerReady() error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, // the answer is not trusted with anything
	}}
	request, err := http.NewRequest(http.MethodGet, "https://"+apiAddress+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer admin")
	reply, err := client.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(reply.Body)
	if err == nil && reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("/readyz returns %s: %s", reply.Status, body)
	}
	return errors.Join(err, reply.Body.Close())
}

// writeKubeconfigs writes a kubeconfig for each user. The administrator's is written last
// and into the run folder, for programs outside the node.
func (v *supervisor) writeKubeconfigs() error {
	content, err := os.ReadFile(inside + "/certificates/apiserver.crt")
	if err != nil {
		return err
	}
	for rest := content; len(rest) > 0; { // the file contains the API server's certificate, then that of its issuer
		if block, next := pem.Decode(rest); block != nil {
			content, rest = pem.EncodeToMemory(block), next
			continue
		}
		break
	}
	if err := os.WriteFile(issuer, content, 0o644); err != nil {
		return err
	}
	for _, user := range []string{"controller-manager", "scheduler", "kubelet", "admin"} {
		config := clientcmdapi.NewConfig()
		config.Clusters["node"] = &clientcmdapi.Cluster{Server: "https://" + apiAddress, CertificateAuthorityData: content}
		config.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: user}
		config.Contexts["node"] = &clientcmdapi.Context{Cluster: "node", AuthInfo: user}
		config.CurrentContext = "node"
		path := filepath.Join(inside, "users", user)
		if user == "admin" {
			path = filepath.Join(v.settings.Run, kubeconfigFile)
		}
		if err := clientcmd.WriteToFile(*config, path); err != nil {
			return err
		}
	}
	return nil
}
