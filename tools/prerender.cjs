// Set every formula of the built pages with MathJax, once, at build time:  node tools/prerender.cjs HTML MATHJAX
//
// HTML is the folder of the built site, MATHJAX the folder of MathJax's files.  A page then shows its mathematics
// without running a script, and a mistake in a formula stops the build, which nothing else would notice.
'use strict';
const fs = require('fs');
const path = require('path');

const [site, mathjaxFolder] = process.argv.slice(2).map((p) => path.resolve(p));
const GENERATED = new Set(['_static', '_sources', '_images', '_downloads', '_sphinx_design_static']);
// Sphinx writes a formula as <span class="math ...">\(..\)</span> or <div class="math ...">[number]\[..\]</div>;
// the TeX inside is escaped, so it holds no "<".
const FORMULA = /(<(span|div) class="[^"]*\bmath notranslate[^"]*"[^>]*>(?:\s*<span class="eqno">.*?<\/span>)?\s*)\\([([])([^<]*)\\[)\]](\s*<\/\2>)/gs;
const SETTINGS = /<script>\s*window\.MathJax = (\{.*?\})<\/script>/s;
const LOADER = /<script[^>]*mathjax[^>]*><\/script>/g;

function pages(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) return GENERATED.has(entry.name) ? [] : pages(name);
    return name.endsWith('.html') ? [name] : [];
  });
}

function unescape(text) {
  const characters = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&#x27;': "'", '&amp;': '&' };
  return text.replace(/&(?:lt|gt|quot|#39|#x27|amp);/g, (entity) => characters[entity]);
}

// The macros stand in _config.yml; Sphinx writes them into each page that has a formula.
function settings(files) {
  for (const file of files) {
    const found = fs.readFileSync(file, 'utf8').match(SETTINGS);
    if (found) return JSON.parse(found[1]);
  }
  return {};
}

async function main() {
  const files = pages(site);
  const { tex = {} } = settings(files);
  const MathJax = await require(path.join(mathjaxFolder, 'node-main.js')).init({
    loader: {
      paths: { mathjax: mathjaxFolder },
      versionWarnings: false,
      load: ['adaptors/liteDOM', 'input/tex-full', 'output/chtml', 'a11y/assistive-mml'],
    },
    // Without these two packages an unknown command or a broken formula is an error instead of red text.
    tex: { ...tex, packages: { '[-]': ['noundefined', 'noerrors'] } },
    // All pages are set in one MathJax document, so its style sheet holds exactly the glyphs of the whole site.
    chtml: { fontURL: 'fonts', adaptiveCSS: true },
    options: { enableAssistiveMml: true },
    startup: { typeset: false },
  });
  const adaptor = MathJax.startup.adaptor;
  const done = new Map();
  let formulas = 0;
  let errors = 0;

  function typeset(source, display, page) {
    formulas += 1;
    const key = `${display}${source}`;
    if (!done.has(key)) done.set(key, adaptor.outerHTML(MathJax.tex2chtml(source, { display })));
    const html = done.get(key);
    const error = html.match(/data-mjx-error="([^"]*)"/);
    if (error) {
      errors += 1;
      console.error(`formula: ${page}: ${unescape(error[1])}: ${source.replace(/\s+/g, ' ').trim()}`);
    }
    return html;
  }

  for (const file of files) {
    const page = path.relative(site, file);
    const html = fs.readFileSync(file, 'utf8');
    const set = html.replace(FORMULA, (all, opening, tag, bracket, source, closing) =>
      opening + typeset(unescape(source), bracket === '[', page) + closing);
    const sheet = path.posix.join(path.posix.relative(path.posix.dirname(page), '.'), '_static/mathjax/chtml.css');
    const link = set === html ? '' : `<link rel="stylesheet" href="${sheet}"/>\n`;
    fs.writeFileSync(file, set.replace(SETTINGS, '').replace(LOADER, '').replace('</head>', `${link}</head>`));
  }

  // The pages now need a style sheet and the fonts that it names, and no script.
  const target = path.join(site, '_static', 'mathjax');
  fs.rmSync(target, { recursive: true, force: true });
  fs.cpSync(path.join(mathjaxFolder, 'output/chtml/fonts/woff-v2'), path.join(target, 'fonts'), { recursive: true });
  fs.writeFileSync(path.join(target, 'chtml.css'), adaptor.textContent(MathJax.chtmlStylesheet()));
  console.log(`prerender: ${formulas} formulas on ${files.length} pages, ${errors} errors`);
  process.exitCode = errors ? 1 : 0;
}

main().catch((error) => { console.error(error); process.exit(1); });
