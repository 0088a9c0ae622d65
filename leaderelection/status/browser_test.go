package status_test

import (
	"bytes"
	"context"
	"image/color"
	"image/png"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/status"
)

// The environment variable STATUS_SCREENSHOTS can contain the name of a folder. If it
// does, the test writes its screenshots to that folder and keeps them.
const screenshotsVariable = "STATUS_SCREENSHOTS"

func TestPage_IsRenderedByABrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes seconds: skipped with -short")
	}
	browser := findBrowser(t)
	server, page := leaderelectiontest.NewServer(), status.New()
	defer server.Close()
	elector, _ := run(t, page, server, "my-app-6d4cf56db6-x7k2p")
	for state := range elector.Changes(t.Context()) {
		if state.Leading {
			break
		}
	}
	run(t, page, server, "my-app-6d4cf56db6-x7k2p", func(c *leaderelection.Config) { c.Enabled, c.AllowDisabled = false, true })
	web := httptest.NewServer(page)
	defer web.Close()

	dom := string(browse(t, browser, "--dump-dom", web.URL))
	for _, want := range []string{`<p class="role leading">This process leads</p>`, "my-app-6d4cf56db6-x7k2p", "became leader, term ", "as JSON</a>"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the rendered page lacks %q:\n%s", want, dom)
		}
	}
	for name, size := range map[string]string{"wide": "1200,1500", "phone": "500,1500"} {
		file := filepath.Join(screenshotFolder(t), name+".png")
		browse(t, browser, "--hide-scrollbars", "--window-size="+size, "--screenshot="+file, web.URL)
		if n := countColours(t, file); n < 20 {
			t.Errorf("the screenshot %s has %d colours, want at least 20: it is empty", name, n)
		}
	}
}

func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no browser is installed: put chromium into PATH to run this test")
	return ""
}

func screenshotFolder(t *testing.T) string {
	if dir := os.Getenv(screenshotsVariable); dir != "" {
		return dir
	}
	return t.TempDir()
}

// browse runs a headless browser and returns its output.
func browse(t *testing.T, browser string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	// The browser's sandbox needs rights that containers do not have. The test works
	// without the sandbox, because the page is trusted.
	cmd := exec.CommandContext(ctx, browser, append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--user-data-dir=" + t.TempDir()}, args...)...)
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", browser, err, stderr.String())
	}
	return out
}

// countColours returns the number of colours in a PNG file.
func countColours(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	screenshot, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	colours := map[color.Color]bool{}
	bounds := screenshot.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			colours[screenshot.At(x, y)] = true
		}
	}
	return len(colours)
}
