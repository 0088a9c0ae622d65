//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The addresses in the node's network namespace. Both are on its loopback device, so that
// no traffic can leave it. No kube-proxy runs: a Pod reaches the API server because the
// first address of the Services is an address of the node.
const (
	nodeAddress = "198.51.100.2" // the kubelet refuses a loopback address
	apiAddress  = "10.96.0.1"    // the address of the Service kubernetes
	serviceCIDR = "10.96.0.0/16"
)

const nodeName = "node1"

// inside is the folder that contains everything of the node. It exists only in the
// node's mount namespace and in memory, so it ends with the node.
const inside = "/run/incumbent"

// settings is what a node is started with. The process of the node gets them as JSON.
type settings struct {
	Run          string   // the folder for logs and the kubeconfig, on the machine
	ControlPlane string   // the folder with etcd and kube-apiserver
	Programs     string   // the folder with kubelet, kubectl and others
	Runtime      string   // the folder into which the packages of the runtime were unpacked
	Cgroups      *cgroups // the cgroups that the node enters
}

// The commands with which this program starts itself in the namespaces.
const (
	initCommand      = "init"      // process 1: makes the namespaces' content, and reaps orphans
	superviseCommand = "supervise" // its child: starts the programs of the node
)

// startInit starts process 1 of the node in new namespaces. The kernel kills the process,
// and with it all others of the node, when the calling thread ends. Therefore the caller
// must keep its thread, see runtime.LockOSThread.
func startInit(s settings) (*exec.Cmd, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	output, err := os.Create(filepath.Join(s.Run, "node.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", initCommand, string(text))
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // an interrupt at the terminal reaches only the parent, which ends the node
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("the namespaces of the node cannot be created, run the command as root and with CAP_SYS_ADMIN: %w", err)
	}
	return cmd, output.Close()
}

// runInit is process 1 of the node. It returns when the supervisor has ended.
func runInit(text string) error {
	runtime.LockOSThread() // a cgroup namespace belongs to a thread; the child gets that of this thread
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	if err := isolate(s); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child, err := os.StartProcess(self, []string{self, superviseCommand, text}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}, Env: environment()})
	if err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		switch pid, err := syscall.Wait4(-1, &status, 0, nil); {
		case pid == child.Pid:
			return fmt.Errorf("the supervisor ended with status %d", status.ExitStatus())
		case err != nil && !errors.Is(err, syscall.EINTR):
			return err
		}
	}
}

// environment returns the environment for the programs of the node.
func environment() []string {
	return []string{"PATH=" + inside + "/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + inside}
}

// isolate fills the new namespaces. Nothing of the machine changes, because each mount is
// in the node's mount namespace and hides what the node would otherwise write to.
func isolate(s settings) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("the mounts of the machine cannot be made private: %w", err)
	}
	if err := s.Cgroups.enter(); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("the cgroup namespace of the node cannot be created: %w", err)
	}
	if err := mount("proc", "/proc", "proc", ""); err != nil {
		return err
	}
	if err := s.Cgroups.mount(); err != nil {
		return err
	}
	// Programs of the node use these folders and have no option to change this.
	for _, dir := range []string{"/run", "/var", "/opt", "/usr/libexec"} {
		if err := mount("node", dir, "tmpfs", "mode=755"); err != nil {
			return err
		}
	}
	if err := fill(s); err != nil {
		return err
	}
	if err := hideSysctls(); err != nil {
		return err
	}
	// The kubelet needs shared mounts. They are shared only inside the node.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(nodeName)); err != nil {
		return err
	}
	return addAddresses(nodeAddress, apiAddress)
}

// mount mounts a file system. It creates the folder.
func mount(source, dir, kind, options string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, dir, kind, 0, options); err != nil {
		return fmt.Errorf("mount of %s (%s) on %s failed: %w", kind, options, dir, err)
	}
	return nil
}

// hideSysctls mounts a file over each sysctl of the whole machine that the kubelet sets.
// The files contain the values that the kubelet wants.
func hideSysctls() error {
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	} {
		own := filepath.Join(inside, "sysctl", strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(own, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(own, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("the sysctl %s cannot be hidden: %w", name, err)
		}
	}
	return nil
}

// addAddresses starts the loopback device and gives it addresses.
func addAddresses(addresses ...string) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("the loopback device does not start: %w", err)
	}
	for i, address := range addresses {
		for _, set := range []struct {
			request uint
			value   string
		}{{unix.SIOCSIFADDR, address}, {unix.SIOCSIFNETMASK, "255.255.255.255"}} {
			request, err := unix.NewIfreq(fmt.Sprintf("lo:%d", i+1))
			if err != nil {
				return err
			}
			if err := request.SetInet4Addr(net.ParseIP(set.value).To4()); err != nil {
				return err
			}
			if err := unix.IoctlIfreq(socket, set.request, request); err != nil {
				return fmt.Errorf("the loopback device does not accept the address %s: %w", address, err)
			}
		}
	}
	return nil
}
