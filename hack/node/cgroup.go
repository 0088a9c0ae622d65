//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A hierarchy is a mounted cgroup file system of the machine.
type hierarchy struct {
	// Folder is where the machine has mounted it.
	Folder string
	// Options are the mount options that select it, such as "cpu,cpuacct". They are
	// empty for cgroup v2, which has one hierarchy for all controllers.
	Options string
}

// parseHierarchies returns the hierarchies in a file in the format of /proc/mounts. A
// machine with cgroup v1 may have an additional hierarchy of cgroup v2, which has no
// controllers and is left out.
func parseHierarchies(mounts string) []hierarchy {
	general := []string{"rw", "ro", "nosuid", "nodev", "noexec", "relatime", "noatime", "xattr", "clone_children"}
	var v1, v2 []hierarchy
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 4:
		case fields[2] == "cgroup2":
			v2 = append(v2, hierarchy{Folder: fields[1]})
		case fields[2] == "cgroup":
			options := slices.DeleteFunc(strings.Split(fields[3], ","), func(o string) bool {
				return slices.Contains(general, o) || strings.HasPrefix(o, "release_agent=")
			})
			if i := slices.IndexFunc(options, func(o string) bool { return strings.HasPrefix(o, "name=") }); i >= 0 {
				options = []string{"none", options[i]}
			}
			v1 = append(v1, hierarchy{fields[1], strings.Join(options, ",")})
		}
	}
	if len(v1) > 0 {
		return v1
	}
	return v2
}

// cgroups are the node's cgroups: one in each hierarchy, all with the same name.
type cgroups struct {
	Name        string
	Hierarchies []hierarchy
}

const cgroupPrefix = "incumbent-node-"

// newCgroups creates the node's cgroups. A cgroup of the machine is not changed.
func newCgroups() (*cgroups, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	c := &cgroups{Name: cgroupPrefix + strconv.Itoa(os.Getpid()), Hierarchies: parseHierarchies(string(mounts))}
	if len(c.Hierarchies) == 0 {
		return nil, errors.New("no cgroup file system is mounted, mount one below /sys/fs/cgroup")
	}
	for _, h := range c.Hierarchies {
		removeLeftovers(h)
		if err := os.Mkdir(c.folder(h), 0o755); err != nil {
			return nil, fmt.Errorf("the cgroup of the node cannot be created, run the command as root and with a writable /sys/fs/cgroup: %w", err)
		}
		// With cgroup v1, no process can enter a cgroup without CPUs.
		for _, set := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(h.Folder, set))
			if h.Options == "" || errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := errors.Join(err, os.WriteFile(filepath.Join(c.folder(h), set), value, 0o644)); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

func (c *cgroups) folder(h hierarchy) string { return filepath.Join(h.Folder, c.Name) }

// removeLeftovers removes the cgroups of nodes whose command was killed. The name of a
// cgroup ends with the process ID of its command.
func removeLeftovers(h hierarchy) {
	leftovers, _ := filepath.Glob(filepath.Join(h.Folder, cgroupPrefix+"*"))
	for _, dir := range leftovers {
		pid := strings.TrimPrefix(filepath.Base(dir), cgroupPrefix)
		if _, err := os.Stat(filepath.Join("/proc", pid)); errors.Is(err, fs.ErrNotExist) {
			removeCgroup(dir)
		}
	}
}

// remove removes the cgroups. The processes of the node must have been killed. The kernel
// may need some time for them, so remove tries for two seconds.
func (c *cgroups) remove() {
	for _, h := range c.Hierarchies {
		for range 20 {
			if removeCgroup(c.folder(h)) {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// removeCgroup removes a cgroup and those below it. It reports whether the cgroup is gone.
func removeCgroup(dir string) bool {
	var all []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for _, path := range slices.Backward(all) {
		_ = os.Remove(path)
	}
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

// enter moves this process into the cgroups. The caller must be the only process of the
// node, because it also enables the controllers of cgroup v2.
func (c *cgroups) enter() error {
	for _, h := range c.Hierarchies {
		if err := os.WriteFile(filepath.Join(c.folder(h), "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return fmt.Errorf("the cgroup of the node cannot be entered: %w", err)
		}
	}
	return nil
}

// mount mounts the hierarchies again. The process must be in the cgroups, and in a cgroup
// namespace that it has created there. In this namespace, the cgroups of the node are the
// roots of the hierarchies.
func (c *cgroups) mount() error {
	const root = "/sys/fs/cgroup"
	if len(c.Hierarchies) == 1 && c.Hierarchies[0].Options == "" {
		if err := mount("cgroup", root, "cgroup2", ""); err != nil {
			return err
		}
		return delegate(root)
	}
	if err := mount("cgroup", root, "tmpfs", "mode=755"); err != nil {
		return err
	}
	for _, h := range c.Hierarchies {
		dir := filepath.Join(root, strings.TrimPrefix(h.Options, "none,name="))
		if err := mount("cgroup", dir, "cgroup", h.Options); err != nil {
			return err
		}
	}
	return nil
}

// delegate enables all controllers for the cgroups below root. With cgroup v2, only a
// cgroup without processes can do that, so delegate moves this process one level down.
func delegate(root string) error {
	system := filepath.Join(root, "system")
	if err := os.Mkdir(system, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(system, "cgroup.procs"), []byte("0"), 0o644); err != nil {
		return err
	}
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+name), 0o644); err != nil {
			return fmt.Errorf("the controller %s cannot be enabled: %w", name, err)
		}
	}
	return nil
}
