/** Names by region that Debian's tzdata knows; others, such as `US/Eastern`, are in a package that nodes do not have. */
const NAME =
  /^(UTC|(Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Europe|Indian|Pacific)(\/[A-Z][A-Za-z_-]+)+)$/;

/** Names by region that Debian 13 moved out to its package tzdata-legacy. */
const LEGACY = new Set(
  `Africa/Asmera America/Argentina/ComodRivadavia America/Buenos_Aires America/Catamarca America/Cordoba
   America/Fort_Wayne America/Godthab America/Indianapolis America/Jujuy America/Knox_IN America/Louisville
   America/Mendoza America/Rosario Antarctica/South_Pole Asia/Ashkhabad Asia/Calcutta Asia/Choibalsan Asia/Chungking
   Asia/Dacca Asia/Katmandu Asia/Macao Asia/Rangoon Asia/Saigon Asia/Thimbu Asia/Ujung_Pandang Asia/Ulan_Bator
   Atlantic/Faeroe Australia/ACT Australia/LHI Australia/NSW Australia/North Australia/Queensland Australia/South
   Australia/Tasmania Australia/Victoria Australia/West Europe/Kiev Europe/Uzhgorod Europe/Zaporozhye Pacific/Enderbury
   Pacific/Ponape Pacific/Truk`.split(/\s+/),
);

/** Whether a node knows this time zone: an IANA name in its current spelling and case, or `UTC`. */
export function isTimeZone(name: string): boolean {
  if (!NAME.test(name) || LEGACY.has(name)) {
    return false;
  }
  try {
    const { timeZone } = new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions();
    // Intl ignores case, file names do not. For some zones it answers another name.
    return timeZone === name || timeZone.toLowerCase() !== name.toLowerCase();
  } catch {
    return false;
  }
}
