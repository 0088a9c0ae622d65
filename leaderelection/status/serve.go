package status

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/safetext"
)

//go:embed page.html.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"seconds": asText,
	"time":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") },
}).Parse(pageText))

// asText formats a number of seconds for the page. A negative number means no limit.
func asText(s float64) string {
	if s < 0 {
		return "without limit"
	}
	return short(time.Duration(s * float64(time.Second))).String()
}

// ServeHTTP writes the page, or the Report as JSON if the client asks for JSON.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed: use GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	var body bytes.Buffer
	contentType, err := p.write(&body, r)
	if err != nil {
		http.Error(w, fmt.Sprintf("report not written: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if r.Method == http.MethodGet {
		// Users read the page with curl. In JSON, the escape sequences stand for the
		// characters.
		_, _ = io.WriteString(w, safetext.Escape(body.String(), safetext.IsUnsafeInLines)) // ignore the error: the client has disconnected
	}
}

func (p *Page) write(body *bytes.Buffer, r *http.Request) (contentType string, err error) {
	report, names := p.report()
	if wantsJSON(r) {
		encoder := json.NewEncoder(body)
		encoder.SetIndent("", "  ")
		return "application/json", encoder.Encode(report)
	}
	page := struct {
		At       time.Time
		Electors []section
	}{At: report.At}
	for i, e := range report.Electors {
		page.Electors = append(page.Electors, section{e, names[i]})
	}
	return "text/html; charset=utf-8", pageTemplate.Execute(body, page)
}

// A section is the part of the page that shows one Elector.
type section struct {
	Elector
	Name string // describes the Elector; the names of two sections differ if possible
}

// wantsJSON reports whether the client asks for JSON. Browsers prefer HTML, and curl
// accepts any content type. Both get HTML.
func wantsJSON(r *http.Request) bool {
	switch r.URL.Query().Get("format") {
	case "json":
		return true
	case "html":
		return false
	}
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}
