for (const button of document.querySelectorAll(".copy")) {
  const code = button.parentElement.querySelector("pre");
  const said = button.nextElementSibling;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      said.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(code);
      said.textContent = "selected: copy it with Ctrl-C";
    }
  });
}
