package envtest_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

const programVariable = "INCUMBENT_ENVTEST_PROGRAM"

// TestProgram is not a test. It is the program that
// TestControlPlane_EndsWithItsProgram starts and kills.
func TestProgram(t *testing.T) {
	assets := os.Getenv(programVariable)
	if assets == "" {
		t.Skip("only run by TestControlPlane_EndsWithItsProgram")
	}
	// A script replaces the etcd binary. The script never becomes ready, so
	// Start is still waiting when the program is killed.
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	_, _ = envtest.Start(envtest.Options{})
}

func TestControlPlane_EndsWithItsProgram(t *testing.T) {
	assets := t.TempDir()
	pipe := assets + "/pid"
	must(t, syscall.Mkfifo(pipe, 0o600))
	script := fmt.Sprintf("#!/bin/sh\necho $$ >%s\nexec sleep 600\n", pipe)
	must(t, os.WriteFile(assets+"/etcd", []byte(script), 0o700))
	must(t, os.WriteFile(assets+"/kube-apiserver", nil, 0o700))

	program := exec.Command(os.Args[0], "-test.run=^TestProgram$")
	program.Env = append(os.Environ(), programVariable+"="+assets, "TMPDIR="+t.TempDir())
	must(t, program.Start())
	file, err := os.Open(pipe)
	must(t, err)
	line, err := bufio.NewReader(file).ReadString('\n')
	must(t, errors.Join(err, file.Close()))
	var child int
	_, err = fmt.Sscan(line, &child)
	must(t, err)

	must(t, program.Process.Kill())
	_ = program.Wait()
	for deadline := time.Now().Add(time.Minute); !dead(child); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlived the program that started it", child)
		}
	}
}

// dead reports whether the process has ended. A zombie process also counts as
// ended.
func dead(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return true
	}
	var state string
	_, _ = fmt.Sscanf(string(status), "%d %s %s", new(int), new(string), &state)
	return state == "Z"
}
