// Package check contains only tests. They check the conventions of this
// repository: its layout, its sizes, its imports, its words and its links.
// "make verify" runs them, and so does "make test".
//
// Each rule is a function that reads parsed sources and returns findings. One test
// applies the rule to the repository. Another test applies it to a small package
// in testdata, whose "want" comments state the findings that the rule must report.
// That test proves that the rule can fail.
//
//	layout_test.go    the top level, the files of the core, the files of a type's methods
//	size_test.go      lines of files, of functions and of the README
//	imports_test.go   which package may import which
//	places_test.go    what may stand in one file only: randomness, timing formulas, requests, client-go's elector
//	mutex_test.go     what must not happen while a mutex is held
//	words_test.go     retired words (words.txt)
//	exported_test.go  exported names (exported.txt), helpers that exist twice
//	docs_test.go      package comments and comments of exported names
//	links_test.go     links, paths and commands in Markdown
//	readme_test.go    code in Markdown compiles
package check
